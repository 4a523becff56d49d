// Renders openapi.json with text nodes only, so that the page works under the strict Content-Security-Policy.

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

const resolve = (api, node) => {
  if (!node?.$ref) return node;
  return node.$ref.slice(2).split("/").reduce((place, key) => place[key], api);
};

// Write a schema as a readable type, such as "integer (1 to 200)".
const typeName = (api, schema) => {
  if (!schema || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map((one) => typeName(api, one)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeName(api, schema.items)}`;
  const bounds = [
    schema.minimum ?? schema.minLength,
    schema.maximum ?? schema.maxLength,
  ];
  const range = bounds.some((bound) => bound !== undefined) ? ` (${bounds[0] ?? "…"} to ${bounds[1] ?? "…"})` : "";
  return (schema.format ?? schema.type) + range;
};

const row = (...cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));

const defaultOf = (schema) => ("default" in schema ? `default ${JSON.stringify(schema.default)}` : "");

const fieldsOf = (api, schema) => {
  const struct = resolve(api, schema);
  if (!struct?.properties) return element("p", {}, typeName(api, schema));
  const rows = Object.entries(struct.properties).map(([name, field]) =>
    row(element("code", {}, name), typeName(api, field), struct.required?.includes(name) ? "always" : defaultOf(field)));
  return element("div", {}, element("p", {}, struct.description ?? ""), element("table", {}, ...rows));
};

const parametersOf = (api, operation) => operation.parameters.map((parameter) =>
  row(element("code", {}, parameter.name), parameter.in, typeName(api, parameter.schema),
    parameter.required ? "required" : defaultOf(parameter.schema)));

const responsesOf = (api, operation) => Object.entries(operation.responses).flatMap(([status, response]) => {
  const resolved = resolve(api, response);
  const [mediaType, content] = Object.entries(resolved.content ?? {})[0] ?? ["", {}];
  return [row(status, response.description ?? resolved.description, mediaType, content.schema ? typeName(api, content.schema) : "")];
});

const section = (title, ...content) => [element("h3", {}, title), ...content];

const callOf = (api, path, method, operation) => {
  const details = element("details", { id: operation.operationId },
    element("summary", {},
      element("b", {}, method.toUpperCase()), element("code", {}, path),
      element("span", {}, operation.summary), element("span", { className: "role" }, operation["x-role"])));
  if (operation.description) details.append(element("p", {}, operation.description));
  if (operation.parameters.length) {
    details.append(...section("Parameters", element("table", {}, ...parametersOf(api, operation))));
  }
  const body = operation.requestBody?.content["application/json"].schema;
  if (body) details.append(...section("Body", fieldsOf(api, body)));
  details.append(...section("Responses", element("table", {}, ...responsesOf(api, operation))));
  const success = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const schema = Object.values(resolve(api, success?.[1])?.content ?? {})[0]?.schema;
  const item = schema?.items ?? schema;
  if (item?.$ref) details.append(...section(item.$ref.split("/").at(-1), fieldsOf(api, item)));
  return details;
};

const render = (api) => {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [tag] = operation.tags;
      groups.set(tag, [...(groups.get(tag) ?? []), callOf(api, path, method, operation)]);
    }
  }
  return [...groups].flatMap(([tag, calls]) => [element("h2", {}, tag), ...calls]);
};

const calls = document.getElementById("calls");
try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: ${response.status}`);
  calls.replaceChildren(...render(await response.json()));
} catch (problem) {
  calls.replaceChildren(element("p", {}, `Loading failed: ${problem.message}`));
}
