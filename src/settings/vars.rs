//! How variables are read: text, numbers within bounds, words of a list, secrets. An empty value counts as unset.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use crate::jws::Key;

/// A variable that cannot be used as it is.
#[derive(Debug, Error, PartialEq)]
#[error("the setting {name} {problem}")]
pub struct SettingsError {
    /// Name of the variable.
    pub name: &'static str,
    /// What is wrong with it, as the end of a sentence that starts with its name.
    pub problem: String,
}

/// The variables, with defaults and bounds.
pub struct Vars<'a, F>(pub &'a F);

impl<F: Fn(&str) -> Option<String>> Vars<'_, F> {
    /// The value, if there is one.
    pub fn get(&self, name: &'static str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Any text.
    pub fn text(&self, name: &'static str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number within bounds.
    pub fn number<N: FromStr + PartialOrd + fmt::Display>(
        &self,
        name: &'static str,
        default: N,
        least: N,
        most: N,
    ) -> Result<N, SettingsError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.parse() {
            Ok(number) if number >= least && number <= most => Ok(number),
            _ => Err(SettingsError { name, problem: format!("must be a whole number from {least} to {most}") }),
        }
    }

    /// One of these words, in any case; the first one is the default.
    pub fn choice<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<T, SettingsError> {
        let value = self.get(name);
        let is_chosen = |word: &str| value.as_ref().is_none_or(|value| value.eq_ignore_ascii_case(word));
        words.iter().find(|(word, _)| is_chosen(word)).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            SettingsError { name, problem: format!("must be one of {}", words.join(", ")) }
        })
    }

    /// Yes or no, in several words.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, SettingsError> {
        if self.get(name).is_none() {
            return Ok(default);
        }
        let words = ["false", "true", "0", "1", "no", "yes", "off", "on"];
        self.choice(name, &words.map(|word| (word, matches!(word, "true" | "1" | "yes" | "on"))))
    }

    /// One or two secrets, any of which is good.
    pub fn secrets(&self, name: &'static str) -> Result<Vec<Key>, SettingsError> {
        let list = self.text(name, "");
        let secrets: Vec<&str> = list.split(',').map(str::trim).filter(|secret| !secret.is_empty()).collect();
        if secrets.len() > 2 || secrets.iter().any(|secret| secret.len() < 16) {
            let problem = "must be one or two secrets of at least 16 bytes, separated by a comma".to_owned();
            return Err(SettingsError { name, problem });
        }
        Ok(secrets.into_iter().filter_map(Key::new).collect())
    }

    /// A time of up to ten minutes.
    pub fn millis(&self, name: &'static str, default: u64, least: u64) -> Result<Duration, SettingsError> {
        self.number(name, default, least, 600_000).map(Duration::from_millis)
    }
}
