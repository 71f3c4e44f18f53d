//! `GET /chat/history`: the visitor's own messages, a page at a time, the newest page first.
//!
//! 200 `{"messages": [...], "next": ...}`, oldest message first; `?before=` with `next` gives the page before it, and
//! `?limit=` how many messages at most. 400 for other parameters, 401 without a valid session.

use uuid::Uuid;
use worker::Response;

use super::{json, query, reader};
use crate::{error::Error, history::History, router::Call};

/// Messages on a page, unless the request says otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// A page has whole turns: a message and its reply.
const LIMITS: std::ops::RangeInclusive<u32> = 2..=100;

/// See the module.
pub async fn get(call: Call) -> Result<Response, Error> {
    let limit = match query(&call, "limit").map(|limit| limit.parse()) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if LIMITS.contains(&limit) => limit,
        Some(_) => return Err(Error::BadQuery("`limit` must be a whole number from 2 to 100.")),
    };
    let before = query(&call, "before").map(|id| Uuid::try_parse(&id)).transpose();
    let before = before.map_err(|_| Error::BadQuery("`before` must be the `next` of another page."))?;
    let reader = reader(&call)?.ok_or(Error::NoSession)?;
    let history = History::new(&call.env, call.settings.database_timeout)?;
    json(history.conversation(&reader, limit / 2, before).await?)
}
