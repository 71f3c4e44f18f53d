//! `GET /health`: whether this deployment can serve visitors now.
//!
//! 200 when the database answers and at least one provider can be asked, else 503; the body says which.

use futures::future::join_all;
use serde::Serialize;
use std::collections::BTreeMap;
use worker::{Method, Response};

use crate::{error::Error, history::History, llm::Models, router::Call};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    database: &'static str,
    providers: BTreeMap<&'static str, &'static str>,
}

const fn state(is_ok: bool) -> &'static str {
    if is_ok { "ok" } else { "unavailable" }
}

/// See the module.
pub async fn get(call: Call) -> Result<Response, Error> {
    let models = Models::new(&call.settings, &call.env);
    let database = async {
        match History::new(&call.env, call.settings.database_timeout) {
            Ok(history) => history.check().await.is_ok(),
            Err(_) => false,
        }
    };
    let providers =
        join_all(models.providers().iter().map(async |provider| (provider.kind().name(), provider.check().await)));
    let (database, providers) = futures::join!(database, providers);
    let is_ok = database && providers.iter().any(|(_, is_ok)| *is_ok);
    let health = Health {
        status: state(is_ok),
        database: state(database),
        providers: providers.into_iter().map(|(name, is_ok)| (name, state(is_ok))).collect(),
    };
    let response = match call.request.method() {
        Method::Head => Response::empty()?,
        _ => Response::from_json(&health)?,
    };
    Ok(response.with_status(if is_ok { 200 } else { 503 }))
}
