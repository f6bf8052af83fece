/** How one thread wakes another that waits for it, and knows when it waits in vain. */

const RINGS = 0;
const BEATS = 1;
const IS_GONE = 2;

/** How long one wait lasts before the other thread is asked for a sign. */
const SLICE_MS = 1000;
/** A thread that has not begun by then never will: there is no memory, or its file cannot be loaded. */
const START_SLICES = 60;
/** A thread that runs answers as soon as it has nothing else to do; one that ran out of memory never does. */
const SILENT_SLICES = 15;

/** The cells that both threads see. */
export type Cells = Int32Array<SharedArrayBuffer>;

export function makeCells(): Cells {
  return new Int32Array(new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT));
}

/** The end of the thread that is waited for. */
export class Ringer {
  readonly #cells: Cells;

  constructor(cells: Cells) {
    this.#cells = cells;
  }

  /** Wakes the other thread. */
  ring(): void {
    Atomics.add(this.#cells, RINGS, 1);
    Atomics.notify(this.#cells, RINGS);
  }

  /** Gives a sign. */
  beat(): void {
    Atomics.add(this.#cells, BEATS, 1);
  }

  /** Says that nothing comes any more. */
  leave(): void {
    Atomics.store(this.#cells, IS_GONE, 1);
    this.ring();
  }
}

/** The end of the thread that waits, and cannot hear of any event meanwhile. */
export class Bell {
  readonly #cells: Cells;
  readonly #ask: () => void;

  /** @param ask Asks the other thread for a sign, which it gives with `Ringer.beat`. */
  constructor(cells: Cells, ask: () => void) {
    this.#cells = cells;
    this.#ask = ask;
  }

  /** A number that each ring raises; to be read before looking for what there is. */
  get rung(): number {
    return Atomics.load(this.#cells, RINGS);
  }

  /** Whether the other thread has ended by itself. */
  get isGone(): boolean {
    return Atomics.load(this.#cells, IS_GONE) === 1;
  }

  /** Waits for a ring after `rung`. False if none will come: the other thread has ended, or gives no sign. */
  wait(rung: number): boolean {
    for (let silent = 0, heard = this.#beats; !this.isGone; silent += 1) {
      if (Atomics.wait(this.#cells, RINGS, rung, SLICE_MS) !== "timed-out") return true;
      const beats = this.#beats;
      if (beats !== heard) silent = 0;
      heard = beats;
      if (silent >= (beats === 0 ? START_SLICES : SILENT_SLICES)) return false;
      this.#ask();
    }
    return this.rung !== rung;
  }

  get #beats(): number {
    return Atomics.load(this.#cells, BEATS);
  }
}
