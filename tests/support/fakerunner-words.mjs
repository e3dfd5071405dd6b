// SPDX-License-Identifier: Apache-2.0
// What a scripted runner answers, one piece each.
export const words = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'].map((w, i) => (i ? ` ${w}` : w));
