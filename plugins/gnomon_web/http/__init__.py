"""From a connection to a handler and back: the route table, request parsing, problems and the OpenAPI document."""
