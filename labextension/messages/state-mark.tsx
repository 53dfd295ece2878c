/** The states of a message, drawn: each has a shape of its own, so that no colour is needed to tell them apart. */
import * as React from 'react';

import type { MessageState } from '../../server/src/api/contract';

const SHAPES: Record<MessageState | 'sealed', JSX.Element> = {
  verified: <path d="M2.2 6.4 5 9.2l5-6" />,
  'new-sender': (
    <>
      <circle cx="4.6" cy="3.8" r="2" />
      <path d="M1 10.5c0-2.2 1.5-3.4 3.6-3.4s3.6 1.2 3.6 3.4M9.8 2.6v4M7.8 4.6h4" />
    </>
  ),
  'changed-sender': (
    <>
      <path d="M1.5 4h8M7.4 1.7 9.8 4 7.4 6.3M10.5 8.5h-8M4.6 6.2 2.2 8.5l2.4 2.3" />
    </>
  ),
  unsigned: <path d="M4 4.2C4 2.8 4.9 2 6.1 2s2.1.8 2.1 2c0 1.7-2.1 1.8-2.1 3.5M6.1 9.3v1.2" />,
  altered: <path d="M2.5 2.5l7 7M9.5 2.5l-7 7" />,
  locked: <path d="M2.5 5.5h7v5h-7zM4 5.5V4a2 2 0 0 1 4 0v1.5" />,
  sealed: <path d="M2.5 5.5h7v5h-7zM4 5.5V4a2 2 0 0 1 4 0v1.5" />
};

/** For the eye: the word for it stands beside it, or in the label of what it stands in. */
export function StateMark(props: { state: MessageState | 'sealed' }): JSX.Element {
  return (
    <svg
      className="jp-SyftSync-stateMark"
      data-state={props.state}
      width="12"
      height="12"
      viewBox="0 0 12 12"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {SHAPES[props.state]}
    </svg>
  );
}
