//! Text in small and capital letters. In the Worker the runtime's own strings know them all: the tables for that would be
//! 16 KB. On other machines, where the tests run, Rust's know the same.

pub use imp::{lower, upper};

#[cfg(target_arch = "wasm32")]
mod imp {
    use js_sys::JsString;

    /// All in small letters.
    pub fn lower(text: &str) -> String {
        JsString::from(text).to_lower_case().into()
    }

    /// All in capitals.
    pub fn upper(text: &str) -> String {
        JsString::from(text).to_upper_case().into()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    /// All in small letters.
    pub fn lower(text: &str) -> String {
        text.to_lowercase()
    }

    /// All in capitals.
    pub fn upper(text: &str) -> String {
        text.to_uppercase()
    }
}
