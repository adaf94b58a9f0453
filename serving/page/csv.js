// Reading and writing CSV.

import { UserError } from "./api.js";

export async function readText(file) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()); // removes a byte order mark
  } catch {
    throw new UserError(`The file ${file.name} is not UTF-8 text: save it as "CSV UTF-8".`);
  }
}

/** Parses CSV (RFC 4180) into records; the separator is the most frequent of comma, semicolon and tab in line one. */
export function parse(content, name) {
  const firstLine = content.slice(0, content.search(/[\r\n]|$/));
  const [separator] = [",", ";", "\t"].sort((a, b) => firstLine.split(b).length - firstLine.split(a).length);
  const special = new RegExp(`["\r\n${separator}]`, "g");
  const records = [];
  let record = [];
  let field = "";
  let position = 0;
  const endField = () => {
    record.push(field);
    field = "";
  };
  const endRecord = () => {
    endField();
    if (record.length > 1 || record[0]) records.push(record); // skip blank lines
    record = [];
  };
  const readQuoted = () => {
    for (;;) {
      const end = content.indexOf('"', position);
      if (end < 0)
        throw new UserError(`The file ${name} has a quote that is never closed, in or after row ${records.length}.`);
      field += content.slice(position, end);
      position = end + 1;
      if (content[position] !== '"') return;
      field += content[position++];
    }
  };
  while (position < content.length) {
    special.lastIndex = position;
    const next = special.exec(content)?.index ?? content.length;
    field += content.slice(position, next);
    position = next + 1;
    if (content[next] === '"' && field) field += '"';
    else if (content[next] === '"') readQuoted();
    else if (content[next] === separator) endField();
    else if (next < content.length) {
      if (content[next] === "\r" && content[position] === "\n") position++;
      endRecord();
    }
  }
  endRecord();
  return records;
}

/** Formats a line of CSV; a cell that a spreadsheet would run as a formula is prefixed with an apostrophe (OWASP). */
export function line(values) {
  const cells = values.map((value) => {
    const formula = /^[=+\-@\t\r\n＝＋－＠]/.test(value) && !/^[+-]?\d+(\.\d+)?$/.test(value);
    const cell = formula ? `'${value}` : String(value);
    return /[",;\t\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  });
  return `${cells.join(",")}\r\n`;
}
