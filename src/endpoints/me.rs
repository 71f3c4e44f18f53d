//! `GET /chat/me`: everything that is stored of the session's visitor, as JSON to keep.
//!
//! `DELETE /chat/me`: erases all of it, what is still on its way to the database included. 204.
//!
//! 401 without a valid session.

use worker::Response;

use super::{end_session, json, reader};
use crate::{error::Error, history::History, log, router::Call};

/// See the module.
pub async fn get(call: Call) -> Result<Response, Error> {
    let reader = reader(&call)?.ok_or(Error::NoSession)?;
    let history = History::new(&call.env, call.settings.database_timeout)?;
    let response = json(history.export(&reader).await?)?;
    response.headers().set("Content-Disposition", "attachment; filename=\"chat.json\"")?;
    Ok(response)
}

/// See the module.
pub async fn delete(call: Call) -> Result<Response, Error> {
    let reader = reader(&call)?.ok_or(Error::NoSession)?;
    let history = History::new(&call.env, call.settings.database_timeout)?;
    let erased = history.erase(&reader, call.received).await?;
    log::info("🗑️ Visitor erased", call.request_id, erased);
    end_session(&call)
}
