/** The rows of a result in JupyterLab's grid, which draws those in sight only. */
import type { TranslationBundle } from '@jupyterlab/translation';
// This module comes with the tab, which is loaded by import().
// eslint-disable-next-line jupyter/prefer-lazy-imports
import {
  BasicKeyHandler,
  BasicMouseHandler,
  BasicSelectionModel,
  DataGrid,
  DataModel,
  RendererMap,
  TextRenderer
} from '@lumino/datagrid';
import type { CellRenderer } from '@lumino/datagrid';
import { UUID } from '@lumino/coreutils';
import { StackedLayout, Widget } from '@lumino/widgets';

import { printable } from '../history/words';
import type { ArrowTable } from './arrow-table';
import { LONGEST_CELL } from './cell-text';
import { leadOf } from './questions';
import type { Lead } from './questions';

/** Milliseconds between two times that arriving rows are shown. */
const REFRESH = 100;
/** Rows that decide how wide a column is. */
const MEASURED = 100;
const NARROWEST = 48;
const WIDEST = 420;
const PADDING = 20;

/** Rows of a table as the grid asks for them. The grid is told of new ones when it suits it. */
class ResultModel extends DataModel {
  constructor(private readonly _table: ArrowTable) {
    super();
    this._rows = _table.rowCount;
  }

  override rowCount(region: DataModel.RowRegion): number {
    return region === 'body' ? this._rows : 1;
  }

  override columnCount(region: DataModel.ColumnRegion): number {
    return region === 'body' ? this._table.columns.length : 1;
  }

  override data(region: DataModel.CellRegion, row: number, column: number): string | null {
    if (region === 'corner-header') return '';
    if (region === 'row-header') return String(row + 1);
    if (region === 'column-header') return printable(this._table.columns[column]?.name ?? '');
    const text = this._table.text(row, column);
    return text === null ? null : printable(text.slice(0, LONGEST_CELL));
  }

  update(): void {
    const span = this._table.rowCount - this._rows;
    if (span <= 0) return;
    const index = this._rows;
    this._rows += span;
    this.emitChanged({ type: 'rows-inserted', region: 'body', index, span });
  }

  private _rows: number;
}

class Mouse extends BasicMouseHandler {
  constructor(private readonly _open: (row: number, column: number) => void) {
    super();
  }

  override onMouseDoubleClick(grid: DataGrid, event: MouseEvent): void {
    const { region, row, column } = grid.hitTest(event.clientX, event.clientY);
    if (region === 'body') this._open(row, column);
    else super.onMouseDoubleClick(grid, event);
  }
}

class Keys extends BasicKeyHandler {
  constructor(private readonly _open: (row: number, column: number) => void) {
    super();
  }

  override onKeyDown(grid: DataGrid, event: KeyboardEvent): void {
    const cursor = grid.selectionModel;
    if (event.key === 'Enter' && cursor !== null && cursor.cursorRow >= 0) {
      event.preventDefault();
      event.stopPropagation();
      this._open(cursor.cursorRow, cursor.cursorColumn);
      return;
    }
    super.onKeyDown(grid, event);
  }
}

export class ResultGrid extends Widget {
  constructor(options: ResultGrid.IOptions) {
    super();
    this._options = options;
    this.addClass('jp-SyftSync-sqlGrid');
    const layout = (this.layout = new StackedLayout());
    this._grid = new DataGrid({
      defaultSizes: { rowHeight: 24, columnWidth: 120, rowHeaderWidth: 56, columnHeaderHeight: 26 },
      headerVisibility: 'all',
      stretchLastColumn: true
    });
    this._grid.mouseHandler = new Mouse((row, column) => this._open(row, column));
    this._grid.keyHandler = new Keys((row, column) => this._open(row, column));
    const { node } = this._grid.viewport;
    // The grid is drawn: this is what is left for the keyboard and for a screen reader, with what the status says.
    node.tabIndex = 0;
    node.setAttribute('role', 'application');
    node.setAttribute('aria-roledescription', options.trans.__('table'));
    node.addEventListener('focus', () => {
      const { selectionModel } = this._grid;
      if (selectionModel !== null && selectionModel.cursorRow < 0 && (this._table?.rowCount ?? 0) > 0) {
        selectionModel.select({ r1: 0, c1: 0, r2: 0, c2: 0, cursorRow: 0, cursorColumn: 0, clear: 'all' });
      }
    });
    layout.addWidget(this._grid);
    this._empty.className = 'jp-SyftSync-sqlEmpty';
    this._empty.id = UUID.uuid4();
    this._empty.hidden = true;
    this.node.append(this._empty);
    this.restyle();
  }

  /** What stands below the names of the columns where rows would be; none where it is empty. Read with the grid, not by itself. */
  setEmpty(text: string): void {
    this._empty.textContent = text;
    this._empty.hidden = text === '';
    const { node } = this._grid.viewport;
    if (text === '') node.removeAttribute('aria-describedby');
    else node.setAttribute('aria-describedby', this._empty.id);
  }

  /** Shows another table, or none. */
  setTable(table: ArrowTable | undefined): void {
    this._table = table;
    this._measured = false;
    const { trans } = this._options;
    this._options.onCell('');
    if (table === undefined) {
      this._model = undefined;
      this._grid.selectionModel = null;
      this._grid.dataModel = null;
      return;
    }
    this._model = new ResultModel(table);
    this._grid.dataModel = this._model;
    const selection = new BasicSelectionModel({ dataModel: this._model, selectionMode: 'cell' });
    selection.changed.connect(() => this._say(selection.cursorRow, selection.cursorColumn));
    this._grid.selectionModel = selection;
    this._grid.copyConfig = {
      ...DataGrid.defaultCopyConfig,
      format: ({ region, row, column, value }) =>
        region === 'body' ? (table.text(row, column) ?? '') : String(value ?? '')
    };
    this._grid.viewport.node.setAttribute(
      'aria-label',
      trans.__('Result: %1', table.columns.map(column => printable(column.name)).join(', '))
    );
    this._leads = table.columns.map(({ name }) => leadOf(name));
    this._measure();
  }

  /** Shows the rows that came, soon. */
  refresh(): void {
    this._timer ??= setTimeout(() => {
      this._timer = undefined;
      if (this.isDisposed) return;
      this._model?.update();
      this._measure();
    }, REFRESH);
  }

  focus(): void {
    this._grid.viewport.node.focus();
  }

  /** Takes the colours and the type of the theme anew. */
  restyle(): void {
    const style = getComputedStyle(document.body);
    const of = (name: string): string => style.getPropertyValue(`--jp-${name}`).trim();
    const [text, muted, link] = [of('ui-font-color1'), of('ui-font-color2'), of('content-link-color')];
    const size = of('ui-font-size1') || '13px';
    const family = of('ui-font-family') || 'sans-serif';
    const font = (this._font = `${size} ${family}`);
    const background = of('layout-color1');
    const header = of('layout-color2');
    const line = of('border-color2');
    const accent = of('brand-color1');
    const mix = (percent: number): string => `color-mix(in srgb, ${accent} ${percent}%, transparent)`;
    this._grid.style = {
      ...DataGrid.defaultStyle,
      voidColor: background,
      backgroundColor: background,
      gridLineColor: line,
      headerBackgroundColor: header,
      headerGridLineColor: line,
      selectionFillColor: mix(18),
      selectionBorderColor: accent,
      cursorFillColor: mix(10),
      cursorBorderColor: accent,
      headerSelectionFillColor: mix(18),
      headerSelectionBorderColor: accent,
      scrollShadow: { size: 4, color1: 'transparent', color2: 'transparent', color3: 'transparent' }
    };
    const column = (config: CellRenderer.CellConfig): { numeric: boolean } | undefined =>
      this._table?.columns[config.column];
    const body = new TextRenderer({
      font: ({ value }) => (value === null ? `italic ${font}` : font),
      textColor: ({ value, column: at }) => (value === null ? muted : this._leads[at] === undefined ? text : link),
      format: ({ value }) => (value === null ? 'null' : String(value)),
      horizontalAlignment: config => (column(config)?.numeric === true ? 'right' : 'left'),
      elideDirection: ({ column: at }) => (this._leads[at] === 'path' ? 'left' : 'right')
    });
    const heading = new TextRenderer({
      font: `600 ${font}`,
      textColor: text,
      horizontalAlignment: config => (column(config)?.numeric === true ? 'right' : 'left'),
      elideDirection: 'right'
    });
    const number = new TextRenderer({ font, textColor: muted, horizontalAlignment: 'right' });
    this._grid.cellRenderers = new RendererMap({
      body,
      'column-header': heading,
      'row-header': number,
      'corner-header': number
    });
  }

  override dispose(): void {
    if (this.isDisposed) return;
    clearTimeout(this._timer);
    super.dispose();
  }

  /** Makes the columns as wide as their first rows need, once there are some. */
  private _measure(): void {
    const table = this._table;
    if (table === undefined) return;
    const context = (this._canvas ??= document.createElement('canvas').getContext('2d'));
    if (context === null) return;
    context.font = `600 ${this._font}`;
    const digits = String(Math.max(table.rowCount, 1)).length;
    this._grid.resizeColumn('row-header', 0, context.measureText('0'.repeat(Math.max(digits, 3))).width + PADDING);
    if (this._measured) return;
    this._measured = table.rowCount > 0;
    table.columns.forEach(({ name }, column) => {
      context.font = `600 ${this._font}`;
      let width = context.measureText(name.slice(0, LONGEST_CELL)).width;
      context.font = this._font;
      for (let row = 0; row < Math.min(MEASURED, table.rowCount); row++) {
        width = Math.max(width, context.measureText((table.text(row, column) ?? 'null').slice(0, 200)).width);
      }
      this._grid.resizeColumn('body', column, Math.min(WIDEST, Math.max(NARROWEST, Math.ceil(width + PADDING))));
    });
  }

  private _open(row: number, column: number): void {
    const lead = this._leads[column];
    const text = this._table?.text(row, column);
    if (lead !== undefined && text !== null && text !== undefined) this._options.open(lead, text);
  }

  private _say(row: number, column: number): void {
    const table = this._table;
    const heading = table?.columns[column];
    if (table === undefined || heading === undefined || row < 0) {
      this._options.onCell('');
      return;
    }
    const text = table.text(row, column);
    const value = text === null ? 'null' : printable(text.slice(0, LONGEST_CELL));
    this._options.onCell(
      this._options.trans.__(
        'Row %1, %2 (%3): %4',
        (row + 1).toLocaleString(),
        printable(heading.name),
        heading.type,
        value
      )
    );
  }

  private readonly _options: ResultGrid.IOptions;
  private readonly _grid: DataGrid;
  private readonly _empty = document.createElement('p');
  private _table: ArrowTable | undefined;
  private _model: ResultModel | undefined;
  private _leads: readonly Lead[] = [];
  private _font = '13px sans-serif';
  private _canvas: CanvasRenderingContext2D | null | undefined;
  private _measured = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

export namespace ResultGrid {
  export interface IOptions {
    trans: TranslationBundle;
    /** A path or a version id was chosen by a double click or Enter. */
    open(lead: 'path' | 'version', value: string): void;
    /** What the cursor is on, in words; empty when it is on nothing. */
    onCell(text: string): void;
  }
}
