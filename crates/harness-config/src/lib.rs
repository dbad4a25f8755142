//! YAML text to a validated project specification: spans, ${...}, diagnostics and the JSON Schema.
