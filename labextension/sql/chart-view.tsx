/** A chart of the result, drawn by JupyterLab's own renderer of Vega-Lite. */
import { MimeModel } from '@jupyterlab/rendermime';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { HTMLSelect, ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { JSONObject } from '@lumino/coreutils';
import { PanelLayout, Widget } from '@lumino/widgets';
import * as React from 'react';

import { printable } from '../history/words';
import type { ArrowTable } from './arrow-table';
import { MARKS, chartOf, likelyChoice, vegaLite } from './chart';
import type { ChartChoice, Mark } from './chart';

const VEGA_LITE = 'application/vnd.vegalite.v5+json';

/** The choices above the chart, rendered in place: what has the focus keeps it. */
class Choices extends ReactWidget {
  set(content: JSX.Element): void {
    this._content = content;
    this.update();
  }

  protected override render(): JSX.Element {
    return this._content;
  }

  private _content = (<></>);
}

export class ChartView extends Widget {
  constructor(options: ChartView.IOptions) {
    super();
    this._options = options;
    this.addClass('jp-SyftSync-sqlChart');
    const layout = (this.layout = new PanelLayout());
    this._choices = new Choices();
    this._choices.addClass('jp-SyftSync-sqlChoices');
    layout.addWidget(this._choices);
  }

  /** Another result, or what has come of it by now. Drawn when it is looked at. */
  setTable(table: ArrowTable | undefined): void {
    const names = table?.columns.map(column => `${column.name} ${column.type}`).join('\n');
    if (names !== this._names) this._choice = table === undefined ? undefined : likelyChoice(table);
    this._names = names;
    this._table = table;
    this._stale = true;
    if (this.isVisible) void this._draw();
  }

  /** The colours of the theme are others. */
  restyle(): void {
    this._stale = true;
    if (this.isVisible) void this._draw();
  }

  protected override onAfterShow(): void {
    if (this._stale) void this._draw();
  }

  protected override onResize(): void {
    if (!this.isVisible) return;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      if (!this.isDisposed && this.isVisible) void this._draw();
    }, 150);
  }

  override dispose(): void {
    clearTimeout(this._timer);
    super.dispose();
  }

  private async _draw(): Promise<void> {
    this._stale = false;
    const { rendermime, trans } = this._options;
    const layout = this.layout as PanelLayout;
    const [table, choice] = [this._table, this._choice];
    if (!rendermime.mimeTypes.includes(VEGA_LITE)) {
      this._say(trans.__('This JupyterLab has no renderer for Vega-Lite: its extension “vega5” is switched off.'));
      return;
    }
    if (table === undefined || choice === undefined || table.rowCount === 0) {
      this._say(trans.__('A result with rows can be drawn here.'));
      return;
    }
    const chart = chartOf(table, choice);
    this._controls(table, choice, chart.summed, chart.left);
    if (chart.points.length === 0) {
      this._replace(undefined);
      return;
    }
    const style = getComputedStyle(document.body);
    const of = (name: string): string => style.getPropertyValue(`--jp-${name}`).trim();
    const specification = vegaLite(
      table,
      choice,
      chart,
      {
        text: of('ui-font-color1'),
        muted: of('ui-font-color2'),
        grid: of('border-color2'),
        mark: of('brand-color1'),
        font: of('ui-font-family')
      },
      { rows: trans.__('Rows'), sum: name => trans.__('Sum of %1', name) }
    );
    const renderer = rendermime.createRenderer(VEGA_LITE);
    this._replace(renderer);
    layout.addWidget(renderer);
    await renderer.renderModel(new MimeModel({ data: { [VEGA_LITE]: specification as JSONObject } }));
    renderer.node.setAttribute('role', 'img');
    renderer.node.setAttribute('aria-label', trans.__('Chart of the result'));
  }

  private _replace(renderer: IRenderMime.IRenderer | undefined): void {
    this._renderer?.dispose();
    this._renderer = renderer;
    renderer?.addClass('jp-SyftSync-sqlVega');
  }

  private _say(text: string): void {
    this._replace(undefined);
    this._choices.set(<p className="jp-SyftSync-hint">{text}</p>);
  }

  private _controls(table: ArrowTable, choice: ChartChoice, summed: boolean, left: number): void {
    const { trans } = this._options;
    const choose = (change: Partial<ChartChoice>): void => {
      this._choice = { ...choice, ...change };
      void this._draw();
    };
    const marks: Record<Mark, string> = { bar: trans.__('Bars'), line: trans.__('Line'), point: trans.__('Points') };
    const numeric = table.columns.map((column, index) => ({ ...column, index })).filter(column => column.numeric);
    this._choices.set(
      <>
        <Choice label={trans.__('Across')} value={String(choice.x)} choose={value => choose({ x: Number(value) })}>
          {table.columns.map((column, index) => (
            <option key={index} value={index}>
              {printable(column.name)}
            </option>
          ))}
        </Choice>
        <Choice
          label={trans.__('Upwards')}
          value={choice.y === undefined ? '' : String(choice.y)}
          choose={value => choose({ y: value === '' ? undefined : Number(value) })}
        >
          <option value="">{trans.__('Number of rows')}</option>
          {numeric.map(column => (
            <option key={column.index} value={column.index}>
              {printable(column.name)}
            </option>
          ))}
        </Choice>
        <Choice label={trans.__('As')} value={choice.mark} choose={value => choose({ mark: value as Mark })}>
          {MARKS.map(mark => (
            <option key={mark} value={mark}>
              {marks[mark]}
            </option>
          ))}
        </Choice>
        <span className="jp-SyftSync-sqlDetail" role="status">
          {summed ? trans.__('Rows are added up.') : ''}{' '}
          {left > 0 ? trans._n('%1 smaller value is left out.', '%1 smaller values are left out.', left) : ''}
        </span>
      </>
    );
  }

  private readonly _options: ChartView.IOptions;
  private readonly _choices: Choices;
  private _renderer: IRenderMime.IRenderer | undefined;
  private _table: ArrowTable | undefined;
  private _names: string | undefined;
  private _choice: ChartChoice | undefined;
  private _stale = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

export namespace ChartView {
  export interface IOptions {
    rendermime: IRenderMimeRegistry;
    trans: TranslationBundle;
  }
}

function Choice(props: {
  label: string;
  value: string;
  choose: (value: string) => void;
  children: React.ReactNode;
}): JSX.Element {
  return (
    <label className="jp-SyftSync-sqlChoice">
      {props.label}
      <HTMLSelect
        aria-label={props.label}
        value={props.value}
        onChange={event => props.choose(event.currentTarget.value)}
      >
        {props.children}
      </HTMLSelect>
    </label>
  );
}
