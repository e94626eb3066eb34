/** Writes Parquet files with a DuckDB of its own. */
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { literal } from "./columns.ts";
import { RowSource, type StreamBlock } from "./row-source.ts";

/**
 * zstd 1 costs a fifth of zstd 3's processor time for 3 % larger files. Payloads are nearly always distinct: the limit makes DuckDB give up
 * on a dictionary for them early, while device, topic and client stay well below it.
 */
const format =
  "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, STRING_DICTIONARY_PAGE_SIZE_LIMIT 65536, WRITE_BLOOM_FILTER false";

/** One write at a time: calls are queued by the caller. */
export class ParquetWriter {
  readonly #connection: DuckDBConnection;
  readonly #rows: RowSource;

  private constructor(connection: DuckDBConnection, exitFlags: Int32Array) {
    this.#connection = connection;
    this.#rows = new RowSource(connection, exitFlags);
  }

  static async open(exitFlags: Int32Array): Promise<ParquetWriter> {
    const instance = await DuckDBInstance.create(":memory:", {
      threads: "1",
      memory_limit: "512MB",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'; SET temp_directory = ''");
    return new ParquetWriter(connection, exitFlags);
  }

  /** Writes the rows that `select` makes of the blocks' events of one hour; returns their number. */
  async write(blocks: readonly StreamBlock[], hour: number, select: string, path: string): Promise<number> {
    return this.#rows.with(blocks, hour, () => this.#copy(select, path));
  }

  /** Writes the rows of some files into one; returns their number. */
  async merge(paths: readonly string[], path: string): Promise<number> {
    const list = paths.map((one) => literal(one.replace(/[*?[]/g, "[$&]"))).join(", ");
    return this.#copy(`SELECT * FROM read_parquet([${list}], hive_partitioning = false)`, path);
  }

  close(): void {
    this.#connection.closeSync();
  }

  async #copy(select: string, path: string): Promise<number> {
    const result = await this.#connection.run(`COPY (${select}) TO ${literal(path)} (${format})`);
    return result.rowsChanged;
  }
}
