//! Faults on demand: what goes wrong, how often, and for which requests.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    HealthLake,
    Sts,
}

/// Where the connection ends, seen from the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    Before,
    After,
}

/// One fault, as `POST /_sandbox/faults` takes it. Without `rate` and `count` it strikes always; without
/// `method`, `type`, `key` and `service` it strikes every request that is signed correctly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fault {
    /// From 400 up: answered instead of acting (with `lateMs`: acting later). Below: the request is carried out
    /// and its answer replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A string is sent as it stands, anything else as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The request waits before it is carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// The answer fails now (504, or `status`, or a `cut`), the write takes effect this much later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub throttle: bool,

    /// Probability from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Strikes this many times, then goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Resource type in the path; `Bundle` for the POST of one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `Patient/123`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
}

impl Fault {
    /// What is wrong with it, in a sentence for the one who wrote it.
    pub fn check(&self) -> Result<(), String> {
        let replaces = self.replaces();
        if !replaces
            && !self.throttle
            && self.cut.is_none()
            && self.delay_ms.is_none()
            && self.late_ms.is_none()
        {
            return Err("nothing happens: give one of status, body, cut, delayMs, lateMs, throttle".into());
        }
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err("status must be from 200 to 599".into());
        }
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("rate must be from 0 to 1".into());
        }
        if self.count == Some(0) {
            return Err("count must be at least 1".into());
        }
        if self.cut.is_some() && replaces {
            return Err("cut leaves no answer: drop status, body, contentType and headers".into());
        }
        if self.cut == Some(Cut::After) && self.late_ms.is_some() {
            return Err("with lateMs the write takes effect after the cut: say \"cut\": \"before\"".into());
        }
        if self.throttle && (self.cut.is_some() || self.late_ms.is_some()) {
            return Err("a throttled request has no effect: drop cut and lateMs, or throttle".into());
        }
        for (name, value) in &self.headers {
            if name.parse::<http::HeaderName>().is_err() || value.parse::<http::HeaderValue>().is_err() {
                return Err(format!("headers: {name:?} cannot be sent"));
            }
        }
        if self.key.as_ref().is_some_and(|key| key.split('/').count() != 2) {
            return Err("key must be TYPE/ID, such as Patient/123".into());
        }
        Ok(())
    }

    fn replaces(&self) -> bool {
        self.status.is_some()
            || self.body.is_some()
            || self.content_type.is_some()
            || !self.headers.is_empty()
    }

    fn matches(&self, about: &About<'_>) -> bool {
        self.service.is_none_or(|service| service == about.service)
            && self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(about.method))
            && self.kind.as_deref().is_none_or(|kind| Some(kind) == about.kind)
            && self.key.as_deref().is_none_or(|key| Some(key) == about.key)
    }

    fn effect(self) -> Option<Effect> {
        let replaces = self.replaces();
        let (status, cut, late) = (self.status, self.cut, self.late_ms.map(Duration::from_millis));
        let replacement = Replacement {
            status: self.status,
            body: self.body,
            content_type: self.content_type,
            headers: self.headers,
        };
        match (late, cut) {
            (Some(by), Some(_)) => Some(Effect::Late { by, answer: None }),
            (Some(by), None) => {
                let answer = Replacement { status: status.or(Some(504)), ..replacement };
                Some(Effect::Late { by, answer: Some(answer) })
            }
            (None, Some(cut)) => Some(Effect::Cut(cut)),
            (None, None) if self.throttle => Some(Effect::Throttle(replacement)),
            (None, None) if status.is_some_and(|status| status >= 400) => Some(Effect::Instead(replacement)),
            (None, None) if replaces => Some(Effect::Rewrite(replacement)),
            (None, None) => None,
        }
    }
}

/// What a fault looks at in a request.
pub(super) struct About<'a> {
    pub(super) service: Service,
    pub(super) method: &'a str,
    pub(super) kind: Option<&'a str>,
    pub(super) key: Option<&'a str>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replacement {
    pub(super) status: Option<u16>,
    pub(super) body: Option<Value>,
    pub(super) content_type: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Answered, not carried out.
    Instead(Replacement),
    /// Carried out, the answer replaced.
    Rewrite(Replacement),
    Throttle(Replacement),
    Cut(Cut),
    /// Failed now (None: cut), carried out later.
    Late {
        by: Duration,
        answer: Option<Replacement>,
    },
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) effect: Option<Effect>,
}

pub(super) struct Faults {
    active: Vec<Fault>,
    random: Rng,
}

impl Faults {
    pub(super) fn new(active: Vec<Fault>, seed: Option<u64>) -> Self {
        Self { active, random: seed.map_or_else(Rng::new, Rng::with_seed) }
    }

    pub(super) fn active(&self) -> &[Fault] {
        &self.active
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.active.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.active.clear();
    }

    /// In the order they were added: delays add up, of the rest the first that strikes decides, and the later
    /// ones are not used up.
    pub(super) fn plan(&mut self, about: &About<'_>) -> Plan {
        let mut plan = Plan::default();
        for fault in &mut self.active {
            if !fault.matches(about) || fault.rate.is_some_and(|rate| self.random.f64() >= rate) {
                continue;
            }
            let effect = fault.clone().effect();
            if effect.is_some() && plan.effect.is_some() {
                continue;
            }
            plan.delay += Duration::from_millis(fault.delay_ms.unwrap_or(0));
            plan.effect = plan.effect.or(effect);
            fault.count = fault.count.map(|left| left - 1);
        }
        self.active.retain(|fault| fault.count != Some(0));
        plan
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        let fault: Fault = serde_json::from_str(json).unwrap();
        fault.check().unwrap();
        fault
    }

    fn patient(method: &'static str) -> About<'static> {
        About { service: Service::HealthLake, method, kind: Some("Patient"), key: Some("Patient/a") }
    }

    #[test]
    fn each_condition_narrows() {
        for (json, strikes) in [
            (r#"{"status":503}"#, true),
            (r#"{"status":503,"method":"put"}"#, true),
            (r#"{"status":503,"method":"DELETE"}"#, false),
            (r#"{"status":503,"type":"Patient"}"#, true),
            (r#"{"status":503,"type":"Group"}"#, false),
            (r#"{"status":503,"key":"Patient/a"}"#, true),
            (r#"{"status":503,"key":"Patient/b"}"#, false),
            (r#"{"status":503,"service":"healthlake"}"#, true),
            (r#"{"status":503,"service":"sts"}"#, false),
        ] {
            let mut faults = Faults::new(vec![fault(json)], None);
            assert_eq!(faults.plan(&patient("PUT")).effect.is_some(), strikes, "{json}");
        }
    }

    #[test]
    fn a_count_is_used_up() {
        let mut faults = Faults::new(vec![fault(r#"{"cut":"after","count":2}"#)], None);
        let struck = (0..5).filter(|_| faults.plan(&patient("PUT")).effect.is_some()).count();
        assert_eq!(struck, 2);
        assert!(faults.active().is_empty());
    }

    #[test]
    fn a_seed_makes_the_rate_repeatable() {
        let run = |seed| {
            let mut faults = Faults::new(vec![fault(r#"{"status":500,"rate":0.3}"#)], Some(seed));
            (0..1000).map(|_| faults.plan(&patient("PUT")).effect.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let struck = run(7).into_iter().filter(|&struck| struck).count();
        assert!((200..400).contains(&struck), "{struck}");
    }

    #[test]
    fn delays_add_up_and_the_first_other_effect_decides() {
        let mut faults = Faults::new(
            [
                r#"{"delayMs":5}"#,
                r#"{"status":500,"count":1}"#,
                r#"{"delayMs":7}"#,
                r#"{"status":503,"count":1}"#,
            ]
            .map(fault)
            .into(),
            None,
        );
        let first = faults.plan(&patient("PUT"));
        assert_eq!(first.delay, Duration::from_millis(12));
        assert!(matches!(first.effect, Some(Effect::Instead(Replacement { status: Some(500), .. }))));
        let second = faults.plan(&patient("PUT"));
        assert!(matches!(second.effect, Some(Effect::Instead(Replacement { status: Some(503), .. }))));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let unknown = serde_json::from_str::<Fault>(r#"{"stauts":503}"#).unwrap_err().to_string();
        assert!(unknown.contains("unknown field `stauts`"), "{unknown}");
        for (json, reason) in [
            ("{}", "nothing happens"),
            (r#"{"rate":0.5}"#, "nothing happens"),
            (r#"{"status":42}"#, "status"),
            (r#"{"status":503,"rate":1.5}"#, "rate"),
            (r#"{"status":503,"count":0}"#, "count"),
            (r#"{"status":503,"cut":"before"}"#, "cut leaves no answer"),
            (r#"{"cut":"after","lateMs":5}"#, "lateMs"),
            (r#"{"throttle":true,"lateMs":5}"#, "throttled"),
            (r#"{"status":503,"headers":{"a b":"c"}}"#, "headers"),
            (r#"{"status":503,"key":"Patient"}"#, "key"),
        ] {
            let fault: Fault = serde_json::from_str(json).unwrap();
            let error = fault.check().unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
