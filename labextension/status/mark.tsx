/** The marks of the states, drawn: fonts of many machines lack the signs for them. */
import * as React from 'react';

export type MarkKind = 'recording' | 'saving' | 'paused' | 'error' | 'off';

const SHAPES: Record<MarkKind, JSX.Element> = {
  recording: <circle cx="6" cy="6" r="4" fill="currentColor" />,
  saving: (
    <>
      <circle cx="6" cy="6" r="3.5" fill="none" stroke="currentColor" />
      <path d="M6 2.5a3.5 3.5 0 0 0 0 7z" fill="currentColor" />
    </>
  ),
  paused: <path d="M3 2h2v8H3zM7 2h2v8H7z" fill="currentColor" />,
  error: <path d="M6 .8 11.6 11H.4zM5.4 4.2v3.4h1.2V4.2zm0 4.3v1.2h1.2V8.5z" fill="currentColor" fillRule="evenodd" />,
  off: <circle cx="6" cy="6" r="3.5" fill="none" stroke="currentColor" />
};

/** For the eye: what it means is said beside it, or in the label of what it stands in. */
export function Mark(props: { kind: MarkKind }): JSX.Element {
  return (
    <svg
      className="jp-SyftSync-sign"
      data-kind={props.kind}
      width="12"
      height="12"
      viewBox="0 0 12 12"
      aria-hidden="true"
    >
      {SHAPES[props.kind]}
    </svg>
  );
}
