//! The name a visitor gives: "My name is John Doe and I need help with ...".

use crate::case::{lower, upper};

/// How people introduce themselves, in lower case.
const INTRODUCTIONS: [&[&str]; 16] = [
    &["my", "name", "is"],
    &["my", "name", "is:"],
    &["my", "name's"],
    &["my", "full", "name", "is"],
    &["i", "am", "called"],
    &["name:"],
    &["benim", "adım"],
    &["adım"],
    &["ismim"],
    &["mein", "name", "ist"],
    &["ich", "heiße"],
    &["je", "m'appelle"],
    &["me", "llamo"],
    &["mi", "nombre", "es"],
    &["меня", "зовут"],
    &["اسمي"],
];

/// Words that end a name, or show that none was given ("my name is not important").
const NO_NAMES: [&str; 72] = [
    "a",
    "already",
    "also",
    "an",
    "and",
    "anonymous",
    "as",
    "asap",
    "at",
    "back",
    "because",
    "but",
    "can",
    "confidential",
    "do",
    "et",
    "for",
    "from",
    "here",
    "how",
    "i",
    "i'd",
    "i'm",
    "i've",
    "im",
    "in",
    "is",
    "it",
    "just",
    "later",
    "listed",
    "looking",
    "mentioned",
    "my",
    "need",
    "no",
    "none",
    "not",
    "now",
    "of",
    "on",
    "only",
    "or",
    "please",
    "private",
    "registered",
    "secret",
    "so",
    "spelled",
    "spelt",
    "still",
    "thanks",
    "that",
    "the",
    "this",
    "to",
    "tomorrow",
    "und",
    "under",
    "ve",
    "want",
    "we",
    "what",
    "what's",
    "when",
    "where",
    "which",
    "with",
    "y",
    "you",
    "your",
    "и",
];

/// Words in lower case that belong to names.
const PARTICLES: [&str; 18] = [
    "al", "ben", "bin", "da", "de", "del", "den", "der", "di", "dos", "du", "el", "ibn", "la", "le", "van", "von", "zu",
];

/// Longest name that is kept, in characters.
const MAX_CHARS: usize = 100;

/// The name that a message gives, in title case, or `None`.
pub fn given_name(message: &str) -> Option<String> {
    let words: Vec<&str> = message.split_whitespace().collect();
    // No letter becomes a space: the words are the same.
    let said = lower(message).replace('’', "'");
    let lower: Vec<&str> = said.split_whitespace().collect();
    (0..words.len()).find_map(|at| {
        let lower = lower.get(at..)?;
        let introduction = INTRODUCTIONS.iter().find(|introduction| {
            introduction.len() < lower.len() && introduction.iter().zip(lower).all(|(known, word)| known == word)
        })?;
        name_at_start(words.get(at + introduction.len()..)?)
    })
}

fn name_at_start(words: &[&str]) -> Option<String> {
    let is_capitalised = words.first()?.starts_with(char::is_uppercase);
    // Without capitals nothing but a stop word shows where a name ends: two words are most likely part of it.
    let most = if is_capitalised { 4 } else { 2 };
    let mut name: Vec<String> = Vec::new();
    for word in words.iter().take(most) {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let lower = lower(bare);
        let is_name = !bare.is_empty()
            && bare.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '’' | '-' | '.') || is_mark(c))
            && !NO_NAMES.contains(&lower.as_str())
            && (!is_capitalised || bare.starts_with(char::is_uppercase) || PARTICLES.contains(&lower.as_str()));
        if !is_name {
            break;
        }
        name.push(title_case(bare));
        // "John." ends the name, "J. Doe" does not.
        let ends_sentence = word.ends_with(['.', ',', '!', '?', ';', ':', ')', '،', '؛']) && bare.chars().count() > 1;
        if ends_sentence {
            break;
        }
    }
    while name.last().is_some_and(|word| PARTICLES.contains(&word.as_str())) {
        name.pop();
    }
    let name = name.join(" ");
    (!name.is_empty() && name.chars().count() <= MAX_CHARS).then_some(name)
}

/// Vowel signs of scripts that write them as marks.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{064B}'..='\u{0652}')
}

/// `john` and `JOHN` become `John`; what has its own capitals stays (`McCoy`), and so do particles.
fn title_case(word: &str) -> String {
    let is_uniform = !word.chars().any(char::is_uppercase) || !word.chars().any(char::is_lowercase);
    if !is_uniform || PARTICLES.contains(&word) {
        return word.to_owned();
    }
    let mut previous = None;
    word.chars()
        .map(|c| {
            let starts = previous.replace(c).is_none_or(|before: char| matches!(before, '-' | '\'' | '’'));
            let letter = c.to_string();
            if starts { upper(&letter) } else { lower(&letter) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found() {
        for (message, name) in [
            ("My name is John Doe and I need help with hair transplant", "John Doe"),
            ("my name is john doe and i need help", "john doe"),
            ("Hello! My name’s Ayşe.  I have a question", "Ayşe"),
            ("my name is sam, what does it cost?", "sam"),
            ("MY NAME IS JOHN DOE", "JOHN DOE"),
            ("My name is Ludwig van Beethoven from Bonn", "Ludwig van Beethoven"),
            ("My name is J. R. Ewing. I want", "J R Ewing"),
            ("I am called Mary-Jane O'Neil!", "Mary-Jane O'Neil"),
            ("Merhaba, benim adım Mehmet Öz", "Mehmet Öz"),
            ("Guten Tag, ich heiße Jürgen Müller und", "Jürgen Müller"),
            ("Bonjour, je m’appelle Zoé", "Zoé"),
            ("Hola, me llamo José García", "José García"),
            ("Здравствуйте, меня зовут Анна Иванова", "Анна Иванова"),
            ("مرحبا اسمي محمد", "محمد"),
            ("Name: Jane Roe", "Jane Roe"),
        ] {
            assert_eq!(given_name(message).unwrap().to_lowercase(), name.to_lowercase(), "{message}");
        }
        assert_eq!(given_name("my name is john o'neil").unwrap(), "John O'Neil");
        assert_eq!(given_name("MY NAME IS JOHN").unwrap(), "John");
        assert_eq!(given_name("My name is Leonard McCoy").unwrap(), "Leonard McCoy");
    }

    #[test]
    fn other_sentences_give_none() {
        for message in [
            "",
            "Hello, I want to schedule an appointment",
            "My name is",
            "my name is not important",
            "My name is on the list",
            "What is my name?",
            "please call me tomorrow",
            "You can call me after 6pm",
            "Call me via WhatsApp",
            "my name is already registered",
            "my name is 12345",
            "My name is <script>alert(1)</script>",
        ] {
            assert_eq!(given_name(message), None, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_safe(message in "(my name is )?\\PC{0,60}") {
            if let Some(name) = given_name(&message) {
                prop_assert!(name.chars().count() <= MAX_CHARS && !name.is_empty());
            }
        }
    }
}
