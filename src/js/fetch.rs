//! Requests to other servers.

use js_sys::{Promise, futures::JsFuture};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::{AbortController, Headers, Request, RequestInit, Response};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    fn start(request: &Request) -> Promise;
}

/// Sends a request (a GET, or a POST if it has a body) and returns the head of the answer. Dropping the future ends the
/// request.
pub async fn fetch(url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<Response, JsValue> {
    let controller = AbortController::new()?;
    let init = RequestInit::new();
    init.set_signal(Some(&controller.signal()));
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
    let mut abort = AbortOnDrop(Some(controller));
    let answer = JsFuture::from(promise).await;
    abort.0 = None;
    Ok(answer?.unchecked_into())
}

/// Ends a request whose answer nobody waits for any more.
struct AbortOnDrop(Option<AbortController>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}
