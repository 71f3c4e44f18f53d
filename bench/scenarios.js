// What is asked of the servers. `first` and `gap` are the model's pace in ms; with neither, it says everything at once.

export const SCENARIOS = [
  {
    id: "alone", title: "50 tokens 5 ms apart, 1 client",
    spec: { tokens: 50, first: 5, gap: 5 }, clients: 1, turns: 10,
  },
  {
    id: "paced", title: "200 tokens 5 ms apart, 32 clients",
    spec: { tokens: 200, first: 5, gap: 5 }, clients: 32, turns: 3, spread: 1000, pause: 100,
  },
  {
    id: "paced-1", title: "1 token, 5 ms late, 32 clients",
    spec: { tokens: 1, first: 5 }, clients: 32, turns: 10, spread: 1000, pause: 100, rounds: 2,
  },
  {
    id: "paced-1000", title: "1000 tokens 5 ms apart, 32 clients",
    spec: { tokens: 1000, first: 5, gap: 5 }, clients: 32, turns: 1, spread: 1000,
    // More than five seconds each.
    rounds: 1,
  },
  {
    id: "slow", title: "200 tokens 50 ms apart, 16 clients each",
    spec: { tokens: 200, first: 300, gap: 50 }, clients: 16, turns: 1, spread: 1500,
    // Everybody at the same time: ten seconds each, in which nobody has much to do, and the machine's mood changes.
    together: true,
  },
  {
    id: "once-1", title: "1 token, 8 clients",
    spec: { tokens: 1 }, clients: 8, seconds: 2,
    // The one in which an empty answer is something to compare with.
    withEmpty: true,
  },
  { id: "once-50", title: "50 tokens at once, 16 clients", spec: { tokens: 50 }, clients: 16, seconds: 3 },
  { id: "once-200", title: "200 tokens at once, 8 clients", spec: { tokens: 200 }, clients: 8, seconds: 2.5 },
  { id: "once-1000", title: "1000 tokens at once, 8 clients", spec: { tokens: 1000 }, clients: 8, seconds: 2.5 },
];
