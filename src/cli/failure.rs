//! Why a command failed, for people and for programs.

use serde_json::{Value, json};

use super::{output, text};
use crate::grpc::client::CallError;

/// Why a command failed; printed after `error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    #[error(transparent)]
    Start(#[from] crate::server::StartError),
    #[error(transparent)]
    File(#[from] text::FileError),
    /// Arguments that cannot be understood.
    #[error("{0}")]
    Arguments(String),
    /// What was printed has not arrived.
    #[error("{0}")]
    Output(String),
    #[error("{0}")]
    Text(String),
}

impl Failure {
    /// Prints it to standard error: a text, or one line of JSON.
    pub fn print(&self, json: bool) {
        match json {
            true => output::remark(self.json()),
            false => output::error(self),
        }
    }

    /// As a program reads it. The code is the server's, or the one that fits what went wrong here.
    fn json(&self) -> Value {
        let (code, message) = match self {
            Self::Call(error) => return call_json(error),
            Self::Config(_) | Self::File(_) | Self::Arguments(_) => ("INVALID_ARGUMENT", self),
            Self::Output(_) => ("DATA_LOSS", self),
            Self::Telemetry(_) | Self::Start(_) | Self::Text(_) => ("FAILED_PRECONDITION", self),
        };
        let message = message.to_string();
        json!({ "error": { "code": code, "reason": null, "message": message, "metadata": {} } })
    }
}

fn call_json(error: &CallError) -> Value {
    let CallError { code, reason, message, metadata, violations, hint } = error;
    let violation =
        |(field, text): &(String, String)| json!({ "field": field, "description": text });
    json!({ "error": {
        "code": code,
        "reason": reason,
        "message": message,
        "metadata": metadata,
        "violations": violations.iter().map(violation).collect::<Vec<_>>(),
        "hint": hint,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_1_a_program_reads_code_reason_message_and_metadata() {
        let call = CallError {
            code: "NOT_FOUND",
            reason: Some("USER_NOT_FOUND".to_owned()),
            message: "no user `zoe`".to_owned(),
            metadata: [("user".to_owned(), "zoe".to_owned())].into(),
            violations: vec![("user".to_owned(), "is none".to_owned())],
            hint: None,
        };
        let json = Failure::from(call).json();
        assert_eq!(json["error"]["code"], "NOT_FOUND");
        assert_eq!(json["error"]["reason"], "USER_NOT_FOUND");
        assert_eq!(json["error"]["metadata"]["user"], "zoe");
        assert_eq!(json["error"]["violations"][0]["field"], "user");
        let json = Failure::Arguments("what?".to_owned()).json();
        assert_eq!(
            (&json["error"]["code"], &json["error"]["reason"]),
            (&"INVALID_ARGUMENT".into(), &Value::Null)
        );
    }
}
