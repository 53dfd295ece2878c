/** React and Lumino: what a component shows follows a signal. */
import type { ISignal } from '@lumino/signaling';
import * as React from 'react';

/** Renders again whenever one of the signals is emitted, once for all of them in one frame's work. */
export function useSignals(...signals: readonly ISignal<object, unknown>[]): void {
  const [, render] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const onChanged = (): void => render();
    for (const signal of signals) signal.connect(onChanged);
    // Between the first rendering and this effect something may have happened.
    render();
    return () => {
      for (const signal of signals) signal.disconnect(onChanged);
    };
    // The signals of a model are the same objects for its whole life.
  }, signals);
}

/** The time, every `interval` milliseconds: for what is said relative to now. */
export function useNow(interval: number): number {
  const [now, setNow] = React.useState(Date.now);
  React.useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), interval);
    return () => clearInterval(timer);
  }, [interval]);
  return now;
}

/** True once `delay` milliseconds have passed while `on` stays true: nothing flashes for what is quick. */
export function useLasting(on: boolean, delay: number): boolean {
  const [lasting, setLasting] = React.useState(false);
  React.useEffect(() => {
    setLasting(false);
    if (!on) return;
    const timer = setTimeout(() => setLasting(true), delay);
    return () => clearTimeout(timer);
  }, [on, delay]);
  return on && lasting;
}
