/** Which fields of a value may be named where. */

/** The fields that a value has; any string where its type is not known. */
export type FieldOf<Value> = unknown extends Value ? string : keyof Value & string;

/** The fields of a value that hold numbers; any string where its type is not known. */
export type NumericFieldOf<Value> = unknown extends Value
  ? string
  : { [Name in keyof Value]-?: NonNullable<Value[Name]> extends number ? Name : never }[keyof Value] & string;
