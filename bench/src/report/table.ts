/** A table in plain text: the first column to the left, the others to the right. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  ");
  const [head, ...body] = rows;
  return [line(head!), widths.map((width) => "-".repeat(width)).join("  "), ...body.map(line)].join("\n");
}
