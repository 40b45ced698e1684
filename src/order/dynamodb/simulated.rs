//! DynamoDB's conditional updates without a socket: the expressions that the store sends are read and carried out as
//! the service documents them, each atomically on one item. Thousands of simulated storms can afford it; the
//! conformance tests hold it to what the emulators do.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Mutex;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::BoxFuture;

use super::Updated;
use super::item::Item;
use crate::order::store::StoreError;

/// A client that is never used.
pub(crate) fn offline_client() -> Client {
    let config = aws_sdk_dynamodb::Config::builder();
    Client::from_conf(config.behavior_version(BehaviorVersion::latest()).build())
}

/// What a store asks of the service.
pub(crate) trait Service: Send + Sync {
    fn update(&self, update: Update) -> BoxFuture<'static, Result<Updated, StoreError>>;

    fn get(&self, pk: String) -> BoxFuture<'static, Result<Item, StoreError>>;
}

/// One UpdateItem.
#[derive(Clone)]
pub(crate) struct Update {
    pub pk: String,
    pub update: String,
    pub condition: String,
    pub values: Attributes,
}

pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// A table: items by `pk`.
#[derive(Default)]
pub(crate) struct Table(Mutex<HashMap<String, Attributes>>);

impl Table {
    pub fn item(&self, pk: &str) -> Item {
        Item(self.0.lock().unwrap().get(pk).cloned().unwrap_or_default())
    }

    /// What came of it, with the item as it was before.
    pub fn apply(&self, update: &Update) -> Updated {
        let mut items = self.0.lock().unwrap();
        let before = items.get(&update.pk).cloned().unwrap_or_default();
        let reader = |text| Reader { words: words(text), at: 0, item: &before, values: &update.values };
        if !reader(&update.condition).condition() {
            return Updated::No(Some(Item(before)));
        }
        let after = reader(&update.update).changed();
        items.insert(update.pk.clone(), after);
        Updated::Yes(Item(before))
    }

    /// Changes an item past all conditions: for tests that take a rule out.
    pub fn meddle(&self, pk: &str, change: impl FnOnce(&mut Attributes)) {
        self.0.lock().unwrap().get_mut(pk).map(change);
    }
}

/// Names, `:values`, operators, parentheses and commas.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = match first {
            '(' | ')' | ',' => 1,
            c if in_word(c) => rest.find(|c| !in_word(c)).unwrap_or(rest.len()),
            _ => rest.find(|c| !matches!(c, '<' | '=' | '>' | '+')).unwrap_or(rest.len()),
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Reads an expression and carries it out over one item.
struct Reader<'a> {
    words: Vec<&'a str>,
    at: usize,
    item: &'a Attributes,
    values: &'a Attributes,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.words[self.at - 1]
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) {
        assert!(self.takes(word), "{word} expected at {} of {:?}", self.at, self.words);
    }

    fn condition(mut self) -> bool {
        let holds = self.or();
        assert_eq!(self.at, self.words.len(), "{:?}", self.words);
        holds
    }

    fn or(&mut self) -> bool {
        let mut holds = self.and();
        while self.takes("OR") {
            holds |= self.and();
        }
        holds
    }

    fn and(&mut self) -> bool {
        let mut holds = self.not();
        while self.takes("AND") {
            holds &= self.not();
        }
        holds
    }

    fn not(&mut self) -> bool {
        if self.takes("NOT") {
            return !self.not();
        }
        if self.takes("(") {
            let holds = self.or();
            self.expect(")");
            return holds;
        }
        if self.takes("attribute_not_exists") {
            self.expect("(");
            let name = self.next();
            self.expect(")");
            return !self.item.contains_key(name);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> bool {
        let left = self.operand();
        if self.takes("IN") {
            self.expect("(");
            let mut found = false;
            loop {
                let one = self.operand();
                found |= left.is_some() && one == left;
                if !self.takes(",") {
                    break;
                }
            }
            self.expect(")");
            return found;
        }
        let operator = self.next();
        let right = self.operand();
        // An attribute that is missing compares with nothing, and is different from everything.
        match (operator, left, right) {
            ("=", Some(left), Some(right)) => left == right,
            ("<>", left, right) => left != right,
            ("<=", Some(left), Some(right)) => number(&left) <= number(&right),
            ("=" | "<=", _, _) => false,
            _ => panic!("{operator}?"),
        }
    }

    fn operand(&mut self) -> Option<AttributeValue> {
        let word = self.next();
        match word {
            "list_append" => {
                self.expect("(");
                let mut list = list(self.operand());
                self.expect(",");
                list.extend(self::list(self.operand()));
                self.expect(")");
                Some(AttributeValue::L(list))
            }
            "if_not_exists" => {
                self.expect("(");
                let found = self.operand();
                self.expect(",");
                let otherwise = self.operand();
                self.expect(")");
                found.or(otherwise)
            }
            word if word.starts_with(':') => Some(self.values[word].clone()),
            name => self.item.get(name).cloned(),
        }
    }

    /// Every value is computed from the item as it was.
    fn changed(mut self) -> Attributes {
        let mut after = self.item.clone();
        if self.takes("SET") {
            loop {
                let name = self.next();
                self.expect("=");
                let mut value = self.operand().expect("a value");
                if self.takes("+") {
                    let sum = number(&value) + self.operand().map_or(0, |more| number(&more));
                    value = AttributeValue::N(sum.to_string());
                }
                after.insert(name.to_owned(), value);
                if !self.takes(",") {
                    break;
                }
            }
        }
        if self.takes("REMOVE") {
            loop {
                after.remove(self.next());
                if !self.takes(",") {
                    break;
                }
            }
        }
        assert_eq!(self.at, self.words.len(), "{:?}", self.words);
        after
    }
}

fn number(value: &AttributeValue) -> u64 {
    value.as_n().unwrap().parse().unwrap()
}

fn list(value: Option<AttributeValue>) -> Vec<AttributeValue> {
    match value {
        Some(AttributeValue::L(list)) => list,
        other => panic!("no list: {other:?}"),
    }
}

/// At once and without a fault, for the conformance tests.
impl Service for std::sync::Arc<Table> {
    fn update(&self, update: Update) -> BoxFuture<'static, Result<Updated, StoreError>> {
        Box::pin(std::future::ready(Ok(self.apply(&update))))
    }

    fn get(&self, pk: String) -> BoxFuture<'static, Result<Item, StoreError>> {
        Box::pin(std::future::ready(Ok(self.item(&pk))))
    }
}
