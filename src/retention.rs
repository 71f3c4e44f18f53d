//! Once a day: what is only kept for a while is deleted, and so are messages that are older than `RETENTION_DAYS`.

use std::time::Duration;

use worker::Env;

use crate::{
    clock::Timestamp,
    error::Error,
    history::{Forgotten, History},
    log, router,
};

/// Nobody waits for these statements, and the table may be large.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of one statement: small enough that nobody waits for it.
const BATCH: i64 = 2000;
/// Statements of one day; what is left waits for the next.
const MAX_BATCHES: usize = 500;

/// Runs it, and tells the log.
pub async fn tidy_up(env: &Env) {
    let mut forgotten = Forgotten::default();
    let outcome = run(env, &mut forgotten).await;
    log::tidied_up(forgotten);
    if let Err(error) = outcome {
        log::not_tidied_up(&error);
    }
}

async fn run(env: &Env, forgotten: &mut Forgotten) -> Result<(), Error> {
    let settings = router::settings(env)?;
    let history = History::new(env, PATIENCE)?;
    let now = Timestamp::now();
    history.tidy_up(now).await?;
    if settings.retention_days == 0 {
        return Ok(());
    }
    let oldest = now.before(Duration::from_secs(u64::from(settings.retention_days) * 24 * 60 * 60));
    for _ in 0..MAX_BATCHES {
        let batch = history.forget(oldest, BATCH).await?;
        forgotten.messages += batch.messages;
        forgotten.users += batch.users;
        if batch.messages + batch.users == 0 {
            break;
        }
    }
    Ok(())
}
