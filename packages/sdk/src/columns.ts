/** The lake's typed columns, derived from a schema where its library offers Standard JSON Schema. */
import type { ColumnDefinition } from "./definition.ts";
import type { StandardSchema } from "./standard-schema.ts";

const columnTypes: Readonly<Record<string, ColumnDefinition["type"]>> = {
  number: "double",
  integer: "bigint",
  string: "varchar",
  boolean: "boolean",
};

/** The JSON types that a property allows, without null; undefined when the schema does not say. */
function typesOf(property: unknown): readonly unknown[] | undefined {
  const { type, anyOf, oneOf } = (property ?? {}) as { type?: unknown; anyOf?: unknown[]; oneOf?: unknown[] };
  const choices = anyOf ?? oneOf;
  const types = choices
    ? choices.flatMap((choice) => typesOf(choice) ?? ["any"])
    : type === undefined
      ? undefined
      : [type].flat();
  return types?.filter((name) => name !== "null");
}

function columnType(property: unknown): ColumnDefinition["type"] {
  const types = new Set(typesOf(property));
  if (types.size === 2 && types.has("number") && types.has("integer")) return "double";
  const [only] = types;
  return (types.size === 1 && columnTypes[String(only)]) || "json";
}

/**
 * The columns of an object schema's properties: what the payload holds before the schema changes it.
 * None when the library offers no JSON Schema, cannot express this one, or it is not an object.
 */
export function columnsOf(schema: StandardSchema<unknown, unknown> | undefined): readonly ColumnDefinition[] {
  try {
    const json = schema?.["~standard"].jsonSchema?.input({ target: "draft-2020-12" });
    return Object.entries(json?.properties ?? {}).map(([name, property]) => ({ name, type: columnType(property) }));
  } catch {
    // Standard JSON Schema lets the converter throw for what it cannot express (a Date, a transform).
    return [];
  }
}
