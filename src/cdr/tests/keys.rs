//! Private keys in the shapes that files have them in. Each is judged by what it signs.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    KeyPair, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::cdr::{KeyError, SigningKey};

pub fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn ec() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()
}

pub fn ec_jwk(pair: &EcdsaKeyPair) -> Value {
    let point = pair.public_key().as_ref();
    let private: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
    json!({
        "kty": "EC", "crv": "P-384", "kid": "ec-1", "alg": "ES384",
        "x": encode(&point[1..49]), "y": encode(&point[49..]), "d": encode(private.as_ref()),
    })
}

pub fn rsa() -> (RsaKeyPair, Vec<u8>) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let der = pkcs8.as_ref().to_vec();
    (pair, der)
}

/// One element of DER: its content, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, at) = match der[1] {
        short @ 0..=127 => (usize::from(short), 2),
        long => {
            let n = usize::from(long & 127);
            (der[2..2 + n].iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), 2 + n)
        }
    };
    (&der[at..at + length], &der[at + length..])
}

/// PKCS#8 is a version, an algorithm and the PKCS#1 key in an octet string.
pub fn pkcs1(pkcs8: &[u8]) -> &[u8] {
    let (sequence, _) = element(pkcs8);
    let (_, rest) = element(sequence);
    let (_, rest) = element(rest);
    element(rest).0
}

fn rsa_jwk(pkcs8: &[u8]) -> Value {
    let (mut rest, _) = element(pkcs1(pkcs8));
    let mut jwk = json!({ "kty": "RSA", "kid": "rsa-1" });
    for name in ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let (number, following) = element(rest);
        let number: Vec<u8> = number.iter().copied().skip_while(|&byte| byte == 0).collect();
        if name != "version" {
            jwk[name] = encode(&number).into();
        }
        rest = following;
    }
    jwk
}

#[test]
fn rsa_keys_are_taken_in_every_shape() {
    let (pair, pkcs8) = rsa();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA384, pair.public_key().as_ref().to_vec());
    let jwk = rsa_jwk(&pkcs8);
    let set = json!({ "keys": [ec_jwk(&ec()), jwk] });
    for (text, id) in [
        (pem("PRIVATE KEY", &pkcs8), Some("mine")),
        (pem("RSA PRIVATE KEY", pkcs1(&pkcs8)), Some("mine")),
        (jwk.to_string(), None),
        (set.to_string(), Some("rsa-1")),
    ] {
        let key = SigningKey::parse(&text, id).unwrap();
        assert_eq!((key.algorithm(), key.id.as_str()), ("RS384", id.unwrap_or("rsa-1")));
        public.verify(b"message", &key.sign(b"message").unwrap()).unwrap();
    }
}

#[test]
fn p384_keys_are_taken_in_every_shape() {
    let pair = ec();
    let public = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, pair.public_key().as_ref().to_vec());
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    for text in [
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        pem("EC PRIVATE KEY", sec1.as_ref()),
        ec_jwk(&pair).to_string(),
    ] {
        let key = SigningKey::parse(&text, Some("ec-1")).unwrap();
        assert_eq!((key.algorithm(), key.id.as_str()), ("ES384", "ec-1"));
        public.verify(b"message", &key.sign(b"message").unwrap()).unwrap();
    }
}

#[test]
fn what_can_t_sign_is_told_apart() {
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p256 = pem("PRIVATE KEY", p256.to_pkcs8v1().unwrap().as_ref());
    let whole = ec_jwk(&ec());
    let changed = |name: &str, value: Value| {
        let mut jwk = whole.clone();
        jwk[name] = value;
        jwk.to_string()
    };
    let no_kid = {
        let mut jwk = whole.clone();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk.to_string()
    };
    let two = json!({ "keys": [whole, ec_jwk(&ec())] }).to_string();
    for (text, id, expected) in [
        ("nonsense".to_owned(), None, KeyError::Format),
        ("{}".to_owned(), None, KeyError::Kind),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), None, KeyError::Encrypted),
        (pem("PUBLIC KEY", b"x"), Some("a"), KeyError::Format),
        (p256, Some("a"), KeyError::Kind),
        (changed("d", "".into()), None, KeyError::Public),
        (changed("alg", "RS256".into()), None, KeyError::Algorithm),
        (changed("x", encode(&[1; 48]).into()), None, KeyError::Kind),
        (no_kid, None, KeyError::NoKeyId),
        (whole.to_string(), Some("another"), KeyError::Several),
        (two, None, KeyError::Several),
        (json!({ "keys": [] }).to_string(), None, KeyError::Several),
    ] {
        assert_eq!(SigningKey::parse(&text, id).err(), Some(expected), "{expected}");
    }
    let kidless = SigningKey::parse(&pem("PRIVATE KEY", ec().to_pkcs8v1().unwrap().as_ref()), None);
    assert_eq!(kidless.err(), Some(KeyError::NoKeyId));
}
