//! Requests to other servers.

use js_sys::{Promise, futures::JsFuture};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::{AbortController, AbortSignal, Headers, Request, RequestInit, Response};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn start(request: &Request) -> Promise;
}

/// Sends a request (a GET, or a POST if it has a body) and returns the head of the answer, and how long the rest may take.
/// Dropping the future ends the request as well.
pub async fn fetch(url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<(Response, Lease), JsValue> {
    let lease = Lease::new()?;
    let init = RequestInit::new();
    init.set_signal(Some(&lease.signal()));
    let given = Headers::new()?;
    for (name, value) in headers {
        given.set(name, value)?;
    }
    init.set_headers(&given);
    if let Some(body) = body {
        init.set_method("POST");
        init.set_body(&body.into());
    }
    let promise = start(&Request::new_with_str_and_init(url, &init)?);
    Ok((JsFuture::from(promise).await?.dyn_into()?, lease))
}

/// How long a request may go on: until this is dropped. One that has ended by itself by then leaves a connection that is of
/// use again.
pub struct Lease(AbortController);

impl Lease {
    /// For a request that is yet to be made.
    pub fn new() -> Result<Self, JsValue> {
        AbortController::new().map(Self)
    }

    /// For the request.
    pub fn signal(&self) -> AbortSignal {
        self.0.signal()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.abort();
    }
}
