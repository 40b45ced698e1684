use super::Refusal;
pub(super) fn to_json(_bytes: &[u8], _max_depth: u32) -> Result<Vec<u8>, Refusal> {
    Err(Refusal { malformed: true, issues: vec![] })
}
