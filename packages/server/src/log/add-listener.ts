/** Listeners by log: what is added is taken away again by the function that comes back. */
export const addListener = <T>(map: Map<number, Set<T>>, logId: number, listener: T): (() => void) => {
  const listeners = map.get(logId) ?? new Set<T>();
  map.set(logId, listeners);
  listeners.add(listener);
  return () => listeners.delete(listener);
};
