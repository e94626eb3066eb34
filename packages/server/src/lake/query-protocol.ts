/** What goes between the node and its query process. */

export interface QuerySetup {
  readonly folder: string;
  readonly memoryBytes: number;
}

export interface QueryRequest {
  readonly sql: string;
  /** `CREATE OR REPLACE VIEW … AS …`, one for each stream. */
  readonly views: readonly string[];
  readonly rowsMax: number;
}

export interface QueryAnswer {
  readonly columns: { name: string; type: string }[];
  readonly rows: unknown[][];
  readonly truncated: boolean;
}

export type QueryMessage =
  | { readonly result: QueryAnswer }
  | { readonly error: { readonly kind: "notSelect" | "limit" | "failed"; readonly message: string } };
