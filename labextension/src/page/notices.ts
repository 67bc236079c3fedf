/** Messages and questions of the page, which has no JupyterLab to show them. */
import { Signal } from '@lumino/signaling';

import type { Question, ToastKind, ToastOptions } from '../view';

export interface Notice {
  readonly id: number;
  readonly message: string;
  readonly kind: ToastKind;
  readonly options: ToastOptions;
}

export interface Asked {
  readonly question: Question;
  readonly answer: (isAgreed: boolean) => void;
}

const SHOWN_MS = 6000;

export class Notices {
  readonly changed = new Signal<this, null>(this);
  private _shown: readonly Notice[] = [];
  private _asked: Asked | null = null;
  private _next = 0;

  get shown(): readonly Notice[] {
    return this._shown;
  }

  get asked(): Asked | null {
    return this._asked;
  }

  add(message: string, kind: ToastKind, options: ToastOptions = {}): void {
    const id = this._next;
    this._next += 1;
    this._shown = [...this._shown, { id, message, kind, options }];
    this.changed.emit(null);
    if (kind !== 'error') {
      window.setTimeout(() => this.remove(id), SHOWN_MS);
    }
  }

  remove(id: number): void {
    this._shown = this._shown.filter(each => each.id !== id);
    this.changed.emit(null);
  }

  confirm(question: Question): Promise<boolean> {
    this._asked?.answer(false);
    return new Promise(resolve => {
      const answer = (isAgreed: boolean): void => {
        this._asked = null;
        this.changed.emit(null);
        resolve(isAgreed);
      };
      this._asked = { question, answer };
      this.changed.emit(null);
    });
  }
}
