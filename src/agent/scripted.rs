//! The assistant without a model: a fixed consultation intake in Anna's voice. A fresh checkout runs on it, and it is
//! the last resort when every model is down. It says what it is when asked, and never gives medical advice.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use super::{
    name::given_name,
    prompt::{Direction, Prompt},
};
use crate::{case::lower, js::Alarm};

/// What `chat_turns.model` says for its replies.
pub const VERSION: &str = "intake-1";

/// Pause between two words of a streamed reply.
const PACE: Duration = Duration::from_millis(15);

const EMERGENCY: [&str; 17] = [
    "emergency",
    "chest pain",
    "can't breathe",
    "cannot breathe",
    "trouble breathing",
    "difficulty breathing",
    "heart attack",
    "stroke",
    "unconscious",
    "passed out",
    "heavy bleeding",
    "bleeding heavily",
    "won't stop bleeding",
    "suicide",
    "suicidal",
    "kill myself",
    "overdose",
];
const IDENTITY: [&str; 10] = [
    "are you a bot",
    "are you a robot",
    "are you human",
    "are you a human",
    "are you real",
    "are you a real",
    "are you an ai",
    "are you ai",
    "who are you",
    "what are you",
];
const MEDICAL: [&str; 20] = [
    "dosage",
    "dose",
    "mg",
    "diagnos",
    "prescri",
    "symptom",
    "side effect",
    "should i take",
    "should i stop",
    "can i take",
    "antibiotic",
    "painkiller",
    "ibuprofen",
    "aspirin",
    "is it cancer",
    "infected",
    "infection",
    "is it normal",
    "is it safe",
    "test result",
];
const PRICE: [&str; 6] = ["price", "cost", "how much", "expensive", "discount", "payment"];
/// What visitors ask for, and how the assistant calls it.
const TREATMENTS: [(&str, &str); 20] = [
    ("hair", "a hair transplant"),
    ("rhinoplasty", "rhinoplasty"),
    ("nose", "rhinoplasty"),
    ("dental", "dental treatment"),
    ("teeth", "dental treatment"),
    ("tooth", "dental treatment"),
    ("veneer", "dental veneers"),
    ("implant", "implants"),
    ("liposuction", "liposuction"),
    ("tummy", "a tummy tuck"),
    ("breast", "breast surgery"),
    ("facelift", "a facelift"),
    ("face lift", "a facelift"),
    ("eyelid", "eyelid surgery"),
    ("lasik", "laser eye surgery"),
    ("eye surgery", "laser eye surgery"),
    ("bariatric", "weight-loss surgery"),
    ("gastric", "weight-loss surgery"),
    ("ivf", "fertility treatment"),
    ("botox", "botox"),
];
const CONSENT: [&str; 11] =
    ["yes", "yeah", "yep", "sure", "ok", "okay", "of course", "that's fine", "that is fine", "i agree", "go ahead"];
const REFUSAL: [&str; 6] = ["no", "nope", "no thanks", "no thank you", "i do not agree", "i don't agree"];

/// What a visitor is told when the day's tokens are spent.
pub fn out_of_budget(clinic: &str) -> String {
    format!(
        "Thank you for your message! I've answered as many messages as I can for today. Your message is saved for the team \
         at {clinic}; please write again tomorrow, and I'll gladly go on from here. If this may be an emergency, please \
         call your local emergency number now (112 in Türkiye and Europe, 911 in the United States)."
    )
}

/// The scripted reply. The same prompt always gives the same reply.
pub fn answer(prompt: &Prompt<'_>) -> String {
    let Prompt { assistant, clinic, .. } = prompt;
    let message = prompt.message.content.as_str();
    let said = lower(message).replace('’', "'");
    let any = |phrases: &[&str]| phrases.iter().any(|phrase| has_word(&said, phrase));

    if any(&EMERGENCY) {
        return "If this may be an emergency, please call your local emergency number now (112 in Türkiye and Europe, \
                911 in the United States) or go to the nearest emergency department. I'm an online assistant and cannot \
                help with emergencies."
            .to_owned();
    }
    if any(&IDENTITY) {
        return format!(
            "I'm {assistant}, the automated consultation assistant of {clinic}: a program with prepared answers, not a \
             person and not a doctor. I can help you arrange a free online consultation with one of our specialists. \
             Would you like to do that?"
        );
    }
    if any(&MEDICAL) {
        return format!(
            "I'm sorry, I can't give medical advice: I'm {assistant}, an online assistant. One of our specialists can \
             answer this in a free, no-obligation online consultation. Shall I help you arrange one? If it is urgent, \
             please contact a doctor near you."
        );
    }
    if any(&PRICE) {
        return format!(
            "The price depends on what you need, so our specialists give you a personal quote after a free, \
             no-obligation online consultation. I'm {assistant}, and I can help you arrange it. Is it okay for me to \
             collect a few personal details for this purpose?"
        );
    }
    let known = Known::gather(prompt);
    if known.is_anything_new {
        return known.next_step(clinic);
    }
    let bare = said.trim_matches(|c: char| !c.is_alphanumeric());
    let is = |phrases: &[&str]| {
        phrases.contains(&bare) || phrases.iter().any(|phrase| bare.starts_with(&format!("{phrase},")))
    };
    let agrees = is(&CONSENT) || CONSENT.iter().any(|phrase| bare.starts_with(&format!("{phrase} ")));
    if is(&REFUSAL) {
        return "That's perfectly fine, I won't collect any personal details. I'm happy to answer general questions about \
                our consultations, and you can change your mind at any time."
            .to_owned();
    }
    if agrees {
        return known.next_step(clinic);
    }
    let received = if prompt.message.media_urls.is_empty() && prompt.message.audio_urls.is_empty() {
        ""
    } else {
        " Thank you for the files; our specialists will look at them before your consultation."
    };
    format!(
        "Hello! I'm {assistant}, your consultation assistant at {clinic}.{received} I'll help you schedule a free, \
         no-obligation online consultation with one of our specialists. To get started, I'll need to collect a few \
         details so our team can prepare for your appointment. Is it okay for me to collect your personal information \
         for this purpose?"
    )
}

/// Whether `text` has a word that starts with `start`, or several words of which the last starts like its end.
fn has_word(text: &str, start: &str) -> bool {
    text.match_indices(start)
        .any(|(at, _)| !text.get(..at).is_some_and(|before| before.ends_with(char::is_alphanumeric)))
}

/// What the visitor has told so far, in this message or in the earlier ones the prompt has.
#[derive(Default)]
struct Known {
    name: Option<String>,
    treatment: Option<&'static str>,
    has_contact: bool,
    is_anything_new: bool,
}

impl Known {
    fn gather(prompt: &Prompt<'_>) -> Self {
        let mut known = Self::default();
        for earlier in prompt.history.iter().filter(|message| message.direction == Direction::Incoming) {
            known.learn(&earlier.body);
        }
        known.is_anything_new = false;
        known.learn(&prompt.message.content);
        known
    }

    fn learn(&mut self, message: &str) {
        let lower = lower(message);
        let name = given_name(message);
        let treatment = TREATMENTS.iter().find(|(word, _)| has_word(&lower, word)).map(|(_, treatment)| *treatment);
        let has_contact = lower.split_whitespace().any(|word| word.contains('@') && word.contains('.'))
            || message.chars().filter(char::is_ascii_digit).count() >= 7;
        self.is_anything_new |= name.is_some() || treatment.is_some() || has_contact;
        self.name = name.or(self.name.take());
        self.treatment = treatment.or(self.treatment);
        self.has_contact |= has_contact;
    }

    fn next_step(&self, clinic: &str) -> String {
        let thanks = match (&self.name, self.treatment) {
            (Some(name), Some(treatment)) => {
                format!("Thank you, {name}. I've noted that you're interested in {treatment}.")
            }
            (Some(name), None) => format!("Thank you, {name}."),
            (None, Some(treatment)) => format!("Thank you. I've noted that you're interested in {treatment}."),
            (None, None) => "Thank you.".to_owned(),
        };
        let next = if self.name.is_none() {
            "May I have your full name? For example: My name is Jane Doe."
        } else if self.treatment.is_none() {
            "Which treatment or concern would you like to discuss with our specialists?"
        } else if !self.has_contact {
            "How can our team reach you to confirm the appointment? Please send a phone number with country code or an \
             e-mail address, and a good time of day."
        } else {
            return format!(
                "{thanks} That's all I need. The team of {clinic} will contact you to confirm your free online consultation."
            );
        };
        format!("{thanks} {next}")
    }
}

/// A scripted reply on its way: word by word for those who watch, at once for those who wait.
pub struct Recital {
    text: String,
    at: usize,
    is_paced: bool,
    pause: Option<Alarm>,
}

impl Recital {
    /// Starts at the beginning.
    pub const fn new(text: String, is_paced: bool) -> Self {
        Self { text, at: 0, is_paced, pause: None }
    }

    /// Appends the next words to `text`; `false` after the last.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, text: &mut String) -> Poll<bool> {
        if self.pause.as_mut().is_some_and(|pause| pause.is_set() && pause.poll(cx).is_pending()) {
            return Poll::Pending;
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = if self.is_paced { rest.find(' ').map_or(rest.len(), |space| space + 1) } else { rest.len() };
        text.push_str(rest.get(..end).unwrap_or_default());
        self.at += end;
        let has_more = self.at < self.text.len();
        if has_more {
            self.pause.get_or_insert_default().set(PACE);
        }
        Poll::Ready(has_more)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        agent::prompt::tests::{prompt, request},
        settings::PassMedia,
    };

    fn say(content: &str) -> String {
        answer(&prompt(&request(json!({"content": content})), PassMedia::Text))
    }

    #[test]
    fn the_guides_conversation() {
        let greeting = "Hello! I'm Anna, your consultation assistant at Istanbul Medic. I'll help you schedule a free, \
            no-obligation online consultation with one of our specialists. To get started, I'll need to collect a few \
            details so our team can prepare for your appointment. Is it okay for me to collect your personal information \
            for this purpose?";
        assert_eq!(say("Hello, I want to schedule an appointment"), greeting);
        assert_eq!(say("I need help with my medical consultation"), greeting);
        assert_eq!(
            say("My name is John Doe and I need help with hair transplant"),
            "Thank you, John Doe. I've noted that you're interested in a hair transplant. How can our team reach you to \
             confirm the appointment? Please send a phone number with country code or an e-mail address, and a good time \
             of day."
        );
    }

    #[test]
    fn consent_goes_before_personal_details() {
        assert!(say("yes please").contains("full name"));
        assert!(say("ok thanks").contains("full name"));
        assert!(say("Yes, of course!").contains("full name"));
        assert!(say("no").contains("won't collect"));
    }

    #[test]
    fn earlier_messages_are_not_asked_for_again() {
        let message = request(json!({"content": "You can write to jane@example.com"}));
        let mut prompt = prompt(&message, PassMedia::Text);
        prompt.history = serde_json::from_value(json!([
            {"direction": "incoming", "body": "my name is jane"},
            {"direction": "outgoing", "body": "My name is Anna. Teeth?"},
            {"direction": "incoming", "body": "It's about my nose"},
        ]))
        .unwrap();
        assert_eq!(
            answer(&prompt),
            "Thank you, Jane. I've noted that you're interested in rhinoplasty. That's all I need. The team of Istanbul \
             Medic will contact you to confirm your free online consultation."
        );
    }

    #[test]
    fn parts_of_other_words_mean_nothing() {
        for message in ["I use a wheelchair", "It was accidental", "A keystroke", "I came from Accosta"] {
            assert!(say(message).starts_with("Hello! I'm Anna"), "{message}");
        }
    }

    #[test]
    fn safety_goes_first() {
        assert!(say("My name is John and I have chest pain").contains("112"));
        assert!(say("What dose of ibuprofen should I take?").contains("can't give medical advice"));
        assert!(say("Are you a real person?").contains("automated"));
        assert!(say("How much does a hair transplant cost?").contains("quote"));
    }

    #[test]
    fn files_are_acknowledged() {
        let message = request(json!({"media_urls": ["https://a.test/1.jpg"]}));
        assert!(answer(&prompt(&message, PassMedia::Text)).contains("Thank you for the files"));
    }
}
