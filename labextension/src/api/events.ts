/** What happens on the server, as it happens: a WebSocket that comes back when it was lost. */
import { type ISignal, Signal } from '@lumino/signaling';

import type { Connection } from './connection';
import type { Happening } from './records';

const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;

/** `live`: nothing that happens is missed. */
export type EventsState = 'connecting' | 'live' | 'lost';

export class Events {
  private readonly _happened = new Signal<this, readonly Happening[]>(this);
  private readonly _stateChanged = new Signal<this, EventsState>(this);
  private _socket: WebSocket | null = null;
  private _timer: number | undefined;
  private _delay = FIRST_DELAY;
  private _state: EventsState = 'connecting';
  private _isDisposed = false;

  constructor(private readonly _connection: Connection) {}

  get happened(): ISignal<this, readonly Happening[]> {
    return this._happened;
  }

  /** After `live`, load what is shown anew: what happened before was not told. */
  get stateChanged(): ISignal<this, EventsState> {
    return this._stateChanged;
  }

  get state(): EventsState {
    return this._state;
  }

  start(): void {
    window.addEventListener('online', this._now);
    this._connect();
  }

  dispose(): void {
    this._isDisposed = true;
    window.removeEventListener('online', this._now);
    window.clearTimeout(this._timer);
    this._socket?.close();
    Signal.clearData(this);
  }

  private readonly _now = (): void => {
    if (this._socket === null) {
      this._delay = FIRST_DELAY;
      this._connect();
    }
  };

  private _connect(): void {
    window.clearTimeout(this._timer);
    const socket = this._connection.listen();
    this._socket = socket;
    socket.onmessage = (message: MessageEvent<string>) => {
      this._delay = FIRST_DELAY;
      this._become('live');
      const news = JSON.parse(message.data) as Happening[];
      if (news.length > 0) {
        this._happened.emit(news);
      }
    };
    socket.onclose = () => {
      this._socket = null;
      if (this._isDisposed) {
        return;
      }
      this._become('lost');
      // Not all browsers at once, when the server is back.
      this._timer = window.setTimeout(() => this._connect(), this._delay * (0.5 + Math.random() / 2));
      this._delay = Math.min(this._delay * 2, LONGEST_DELAY);
    };
  }

  private _become(state: EventsState): void {
    if (state !== this._state) {
      this._state = state;
      this._stateChanged.emit(state);
    }
  }
}
