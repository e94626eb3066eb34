/** Where an event is kept: what a session keeps of a message instead of its bytes. */
export interface Place {
  readonly logId: number;
  readonly writer: number;
  readonly sequence: number;
}
