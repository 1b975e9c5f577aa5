"""How AWS writes requests and answers: JSON, REST, query and CBOR."""
