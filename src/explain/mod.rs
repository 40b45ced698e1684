//! What happened, in words for whoever is awake at 3 a.m.: a code's text, and one resource's state everywhere.

mod codes;
mod letters;
mod resource;

pub use codes::{Code, code, codes};
pub use letters::{LetterLine, last_letters, letters_of};
pub use resource::{Explained, Order, Side, explain};
