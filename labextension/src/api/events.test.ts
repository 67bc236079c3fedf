import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { createCache, follow } from './cache';
import type { Connection } from './connection';
import { Events } from './events';
import type { Happening } from './records';

/** The sockets that were opened, in their order. */
class Sockets {
  readonly opened: WebSocket[] = [];

  readonly connection = {
    listen: () => {
      const socket = { close: vi.fn() } as unknown as WebSocket;
      this.opened.push(socket);
      return socket;
    }
  } as unknown as Connection;

  say(news: Partial<Happening>[]): void {
    this.opened.at(-1)?.onmessage?.(new MessageEvent('message', { data: JSON.stringify(news) }));
  }

  drop(): void {
    this.opened.at(-1)?.onclose?.(new CloseEvent('close'));
  }
}

describe('events', () => {
  let sockets: Sockets;
  let events: Events;

  beforeEach(() => {
    vi.useFakeTimers();
    sockets = new Sockets();
    events = new Events(sockets.connection);
    events.start();
  });

  afterEach(() => {
    events.dispose();
    vi.useRealTimers();
  });

  it('are live after the first message, which tells nothing', () => {
    const told = vi.fn();
    events.happened.connect(told);
    expect(events.state).toBe('connecting');
    sockets.say([]);
    expect(events.state).toBe('live');
    expect(told).not.toHaveBeenCalled();
    sockets.say([{ kind: 'run.created' }]);
    expect(told).toHaveBeenCalledOnce();
  });

  it('come back when they were lost, later each time', () => {
    sockets.say([]);
    sockets.drop();
    expect(events.state).toBe('lost');
    vi.advanceTimersByTime(500);
    expect(sockets.opened).toHaveLength(2);
    sockets.drop();
    vi.advanceTimersByTime(499);
    expect(sockets.opened).toHaveLength(2);
    vi.advanceTimersByTime(501);
    expect(sockets.opened).toHaveLength(3);
  });

  it('do not come back once they are not wanted', () => {
    events.dispose();
    sockets.drop();
    vi.runAllTimers();
    expect(sockets.opened).toHaveLength(1);
  });

  it('make old what they concern, and all of it after a gap', async () => {
    const cache = createCache();
    const end = follow(cache, events);
    const keys = [['runs', 'e1'], ['run', 'r1'], ['run', 'r2', 'comments'], ['models']];
    keys.forEach(key => cache.setQueryData(key, []));
    const old = (): string[] => keys.filter(key => cache.getQueryState(key)?.isInvalidated).map(key => key.join('/'));
    sockets.say([{ kind: 'run.changed', target: 'r2', experiment_id: 'e1' }]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(old()).toEqual(keys.map(key => key.join('/')));
    keys.forEach(key => cache.setQueryData(key, []));
    sockets.say([{ kind: 'run.changed', target: 'r2', experiment_id: 'e1' }]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(old()).toEqual(['runs/e1', 'run/r2/comments']);
    keys.forEach(key => cache.setQueryData(key, []));
    sockets.say([{ kind: 'experiment.changed', target: 'e1', experiment_id: 'e1' }]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(old()).toEqual(['runs/e1']);
    sockets.say([{ kind: 'experiment.changed', target: 'e1', experiment_id: 'e1', detail: { runs: true } }]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(old()).toEqual(['runs/e1', 'run/r1', 'run/r2/comments']);
    end();
  });
});
