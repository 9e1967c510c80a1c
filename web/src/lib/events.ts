// Typed events: who listens hears of a change, nobody polls.

export class Emitter<Events extends object> {
  private readonly listeners = new Map<keyof Events, Set<(data: never) => void>>();

  /** Hear of an event; the answer stops it. */
  on<K extends keyof Events>(name: K, listener: (data: Events[K]) => void): () => void {
    const known = this.listeners.get(name) ?? new Set();
    known.add(listener as (data: never) => void);
    this.listeners.set(name, known);
    return () => known.delete(listener as (data: never) => void);
  }

  emit<K extends keyof Events>(name: K, data: Events[K]): void {
    for (const listener of this.listeners.get(name) ?? []) (listener as (d: Events[K]) => void)(data);
  }
}

/** A function that runs at most once in `everyMs`, its last call never lost. */
export function throttled(everyMs: number, run: () => void): () => void {
  let timer = 0;
  return () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      run();
    }, everyMs);
  };
}
