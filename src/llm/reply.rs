//! What models say in their streams: OpenAI's chunks, Workers AI's own, and the mixtures of both that occur.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, Visitor},
};
use serde_json::Value;

use super::{ModelError, Usage};

/// What is known of a reply besides its text.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The stream's end marker came: whatever follows is not part of the reply.
    pub done: bool,
    /// Why the model stopped (`stop`, `length`, ...), once it said so.
    pub finish_reason: Option<String>,
    /// What it counted, if it did.
    pub usage: Option<Usage>,
}

impl Summary {
    /// Takes the data of the next event and appends the text in it to `text`.
    pub fn take(&mut self, data: &str, text: &mut String) -> Result<(), ModelError> {
        if self.done || data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data.as_bytes()).map_err(|_| ModelError::Garbage)?;
        if chunk.error.is_some() || chunk.errors.is_some() {
            return Err(ModelError::InStream);
        }
        if let Some(usage) = chunk.usage {
            // What a model counts is worth a note, never a reply: a number of a strange kind counts as 0.
            let count = |name| usage.get(name).and_then(Value::as_i64).and_then(|count| i32::try_from(count).ok());
            self.usage = Some(Usage {
                prompt_tokens: count("prompt_tokens").unwrap_or_default(),
                completion_tokens: count("completion_tokens").unwrap_or_default(),
            });
        }
        let choice = chunk.choices.and_then(|choices| choices.into_iter().next()).unwrap_or_default();
        if let Some(reason) = choice.finish_reason {
            self.finish_reason = Some(reason.into_text().into_owned());
        }
        // Some Workers AI models send the same text in both fields (cloudflare/ai issue 615): one counts.
        let content = choice.delta.and_then(|delta| delta.content).map(Scalar::into_text);
        let news = content.filter(|content| !content.is_empty()).or_else(|| chunk.response.map(Scalar::into_text));
        // PostgreSQL's text cannot hold U+0000; what is shown is what is stored.
        text.extend(news.iter().flat_map(|news| news.split('\0')));
        Ok(())
    }

    /// Takes the end of the stream: an error unless the model had said that it was done.
    pub fn end(&mut self) -> Result<(), ModelError> {
        self.done |= self.finish_reason.is_some();
        if self.done { Ok(()) } else { Err(ModelError::Truncated) }
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    response: Option<Scalar<'a>>,
    usage: Option<Value>,
    error: Option<IgnoredAny>,
    errors: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Scalar<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Scalar<'a>>,
}

/// A string, borrowed from the chunk unless it has escapes; or a number, as which Workers AI sends tokens that look like
/// one. (A derived untagged enum would copy each token.)
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(serde_json::Number),
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                serde_json::Number::from_f64(number).map(Scalar::Number).ok_or_else(|| E::custom("not a number"))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl<'a> Scalar<'a> {
    fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => Cow::Owned(number.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type End = (Option<String>, Option<Usage>);

    /// The events of a stream as `EventSource` would tell them.
    fn read(stream: &str) -> (String, Result<End, ModelError>) {
        let (mut text, mut summary) = (String::new(), Summary::default());
        let mut events = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        let outcome = events.try_for_each(|data| summary.take(data, &mut text)).and_then(|()| summary.end());
        (text, outcome.map(|()| (summary.finish_reason, summary.usage)))
    }

    const HELLO: &str = concat!(
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Mer\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"haba \\u00fc \\ud83d\\ude00\"}}]}\n\n",
        "data: {\"choices\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n",
    );

    #[test]
    fn openai_chunks_with_and_without_the_end_marker() {
        let expected = (Some("stop".to_owned()), Some(Usage { prompt_tokens: 9, completion_tokens: 4 }));
        for end in ["data: [DONE]\n\n", "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", ""]
        {
            let (text, outcome) = read(&format!("{HELLO}{end}"));
            assert_eq!(text, "Merhaba ü 😀");
            assert_eq!(outcome.unwrap(), expected);
        }
    }

    #[test]
    fn workers_ai_chunks_in_all_shapes() {
        let (text, outcome) = read(concat!(
            "data: {\"response\":\"Room \",\"p\":\"abc\"}\n\n",
            "data: {\"response\":101}\n\n",
            "data: {\"response\":null}\n\n",
            "data: {\"response\":\" is\",\"choices\":[{\"delta\":{\"content\":\" is\"}}]}\n\n",
            "data: {\"choices\":[{\"delta\":{\"content\":\" free\"}}]}\n\n",
            "data: {\"response\":\"\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":5}}\n\n",
            "data: [DONE]\n\n",
        ));
        assert_eq!(text, "Room 101 is free");
        assert_eq!(outcome.unwrap().1, Some(Usage { prompt_tokens: 1, completion_tokens: 5 }));
    }

    #[test]
    fn what_a_model_counts_cannot_spoil_its_reply() {
        for usage in
            ["{\"prompt_tokens\":null}", "{\"prompt_tokens\":1.5,\"completion_tokens\":99999999999}", "\"many\""]
        {
            let (text, outcome) = read(&format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":7}},\"finish_reason\":1}}],\"usage\":{usage}}}\n\n"
            ));
            assert_eq!(text, "7");
            assert_eq!(outcome.unwrap(), (Some("1".to_owned()), Some(Usage::default())));
        }
    }

    #[test]
    fn streams_that_end_badly() {
        let piece = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        for (end, code) in [
            ("", "truncated"),
            ("data: {\"error\":{\"message\":\"overloaded\"}}\n\n", "error_in_stream"),
            ("data: {\"error\":\"overloaded\"}\n\n", "error_in_stream"),
            ("data: {\"errors\":[{\"code\":3040}]}\n\n", "error_in_stream"),
            ("data: <html>\n\n", "garbage"),
        ] {
            let (text, outcome) = read(&format!("{piece}{end}"));
            assert_eq!((text.as_str(), outcome.unwrap_err().code()), ("a", code), "{end}");
        }
        assert!(read(&format!("{piece}data: {{\"error\":null}}\n\ndata: [DONE]\n\n")).1.is_ok());
    }
}
