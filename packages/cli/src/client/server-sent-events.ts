/** Server-sent events of a response, one by one. */

/** One event; comments are passed over. */
export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
}

/** The events of a response's body, as they come. */
export async function* serverSentEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n", start)) {
      const lines = text.slice(start, end).split("\n");
      start = end + 2;
      const field = (name: string): string[] =>
        lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = field("data");
      if (data.length > 0) yield { event: field("event")[0] ?? "message", data: data.join("\n") };
    }
    text = text.slice(start);
  }
}
