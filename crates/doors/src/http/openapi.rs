//! `/openapi.json`: what this door takes and gives.

use axum::Json;
use serde_json::{Value, json};

/// The document.
pub(super) async fn document() -> Json<Value> {
    Json(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Thalweg",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Key-value data and streams over one durable log. A write is answered \
                            when it is as durable as the node's settings ask."
        },
        "paths": {
            "/data/{key}": data(),
            "/streams/{name}": streams(),
            "/sql": sql(),
            "/healthz": plain("Whether the process lives"),
            "/readyz": plain("Whether writes are taken"),
            "/metrics": plain("Figures for Prometheus"),
        },
        "components": {
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": { "type": "string" }, "title": { "type": "string" },
                        "status": { "type": "integer" }, "detail": { "type": "string" },
                        "code": { "type": "string", "description": "stable, for programs" }
                    }
                }
            },
            "responses": {
                "Problem": {
                    "description": "What happened, to what, and what to do",
                    "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } }
        }
                }
            },
            "securitySchemes": { "password": { "type": "http", "scheme": "bearer" } }
        }
    }))
}

fn problem() -> Value {
    json!({ "$ref": "#/components/responses/Problem" })
}

fn plain(summary: &str) -> Value {
    json!({ "get": {
        "summary": summary,
        "responses": {
            "200": { "description": "yes",
            "content": { "text/plain": { "schema": { "type": "string" } } } },
            "default": problem()
        }
    } })
}

fn data() -> Value {
    json!({
        "parameters": [{
            "name": "key", "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 1024,
            "pattern": "^[A-Za-z0-9:_.-]+$" }
        }],
        "get": read_entry(),
        "put": write_entry("Make or replace an entry"),
        "post": write_entry("Make or replace an entry; always answers 201"),
        "delete": {
            "summary": "Delete an entry",
            "parameters": [condition("If-Match"), condition("If-None-Match")],
            "responses": { "204": { "description": "deleted" }, "404": problem(),
            "412": problem(), "default": problem() }
        }
    })
}

/// The header of a condition on an entry's version.
fn condition(name: &str) -> Value {
    json!({
        "name": name, "in": "header", "schema": { "type": "string",
        "pattern": "^(\\*|\"[0-9]{1,18}\")$" },
        "description": "ETags in quotes, separated by commas, or *"
    })
}

fn read_entry() -> Value {
    json!({
        "summary": "Read an entry",
        "parameters": [condition("If-None-Match")],
        "responses": {
            "200": {
                "description": "the entry",
                "headers": { "ETag": { "schema": { "type": "string" } } },
                "content": {
                    "application/json": { "schema": {
                        "type": "object", "required": ["data", "version"],
                        "properties": {
                            "data": {}, "version": { "type": "integer" },
                            "ttl_ms": { "type": "integer" },
                            "encoding": { "type": "string", "enum": ["base64"] }
                        }
                    } },
                    "application/octet-stream": { "schema": { "type": "string",
                    "format": "binary" } }
                }
            },
            "304": { "description": "not changed" },
            "404": problem(), "409": problem(), "default": problem()
        }
    })
}

fn write_entry(summary: &str) -> Value {
    let ttl = json!({
        "name": "ttl", "in": "query", "schema": { "type": "string",
        "pattern": "^[1-9][0-9]{0,9}(ms|s|m|h|d)?$" },
        "description": "for how long the entry lives: 10s, 500ms, or seconds"
    });
    let version = json!({ "application/json": { "schema": {
        "type": "object", "required": ["version"],
        "properties": { "version": { "type": "integer" } }
    } } });
    let body = json!({ "required": true, "content": {
        "application/json": { "schema": { "type": "object", "required": ["value"],
        "properties": { "value": {} } } },
        "application/octet-stream": { "schema": { "type": "string", "format": "binary" } }
    } });
    json!({
        "summary": summary,
        "parameters": [ttl, condition("If-Match"), condition("If-None-Match")],
        "requestBody": body,
        "responses": {
            "200": { "description": "replaced", "content": version },
            "201": { "description": "made", "content": version },
            "400": problem(), "412": problem(), "413": problem(), "415": problem(),
                "default": problem()
        }
    })
}

fn sql() -> Value {
    json!({
        "post": {
            "summary": "Run statements; the last one's rows, in the format that Accept asks for",
            "requestBody": { "required": true, "content": {
                "text/plain": { "schema": { "type": "string", "example": "SELECT * FROM \
                    sys.views" } },
                "application/json": { "schema": {
                    "type": "object", "required": ["query"],
                    "properties": { "query": { "type": "string" },
                    "parameters": { "type": "array", "items": {} } }
                } }
            } },
            "responses": {
                "200": { "description": "rows", "content": {
                    "application/json": { "schema": {
                        "type": "object", "required": ["columns", "rows"],
                        "properties": {
                            "columns": { "type": "array", "items": {
                                "type": "object", "required": ["name", "type"],
                                "properties": { "name": { "type": "string" },
                                "type": { "type": "string" } }
                            } },
                            "rows": { "type": "array", "items": { "type": "object" } }
                        }
                    } },
                    "application/x-ndjson": { "schema": { "type": "string" } },
                    "text/csv": { "schema": { "type": "string" } },
                    "application/vnd.apache.arrow.stream": { "schema": { "type": "string",
                    "format": "binary" } }
                } },
                "400": problem(), "404": problem(), "409": problem(), "default": problem()
            }
        }
    })
}

fn streams() -> Value {
    json!({
        "parameters": [{
            "name": "name", "in": "path", "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 1024,
            "pattern": "^[A-Za-z0-9:_.-]+$" }
        }],
        "get": read_records(),
        "put": declare_stream(),
        "post": append_records()
    })
}

fn read_records() -> Value {
    json!({
        "summary": "Read records after an ID; with Accept: text/event-stream, follow the \
                    stream",
        "parameters": [
            { "name": "after", "in": "query", "schema": { "type": "string",
            "pattern": "^([0-9]{1,18}(-[0-9]{1,18})?|\\$)$" } },
            { "name": "count", "in": "query", "schema": { "type": "integer", "minimum": 1,
            "maximum": 10000 } },
            { "name": "wait", "in": "query", "schema": { "type": "string",
            "pattern": "^[0-9]{1,3}ms$" } }
        ],
        "responses": {
            "200": { "description": "records", "content": {
                "application/json": { "schema": {
                    "type": "object", "required": ["records", "next"],
                    "properties": {
                        "next": { "type": "string" },
                        "records": { "type": "array", "items": {
                            "type": "object", "required": ["id", "fields"],
                            "properties": { "id": { "type": "string" },
                            "fields": { "type": "object" } }
                        } }
                    }
                } },
                "text/event-stream": { "schema": { "type": "string" } }
            } },
            "400": problem(), "409": problem(), "default": problem()
        }
    })
}

fn declare_stream() -> Value {
    json!({
        "summary": "Declare a stream; declaring the same again changes nothing",
        "requestBody": { "required": true, "content": { "application/json": { "schema": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "columns": { "type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["name", "type"],
                        "additionalProperties": false,
                    "properties": {
                        "name": { "type": "string", "pattern": "^[a-z][a-z0-9]{0,20}$" },
                        "type": { "type": "string", "enum": ["TEXT", "BIGINT", "DOUBLE \
                            PRECISION", "TIMESTAMP", "JSON"] },
                        "nullable": { "type": "boolean" }
                    }
                } },
                "partitions": { "type": "integer", "minimum": 1, "maximum": 16 }
            }
        } } } },
        "responses": {
            "200": { "description": "it was there already" },
            "201": { "description": "declared" },
            "400": problem(), "404": problem(), "409": problem(), "default": problem()
        }
    })
}

fn append_records() -> Value {
    let record = json!({ "type": "object", "minProperties": 1 });
    json!({
        "summary": "Append one record, or many as one batch: all or none",
        "requestBody": { "required": true, "content": {
            "application/json": { "schema": record },
            "application/x-ndjson": { "schema": { "type": "string" } }
        } },
        "responses": {
            "201": { "description": "appended",
            "content": { "application/json": { "schema": { "type": "object" } } } },
            "400": problem(), "409": problem(), "413": problem(), "default": problem()
        }
    })
}
