// CSV in and out.

import { Refusal } from "./endpoint.js";

export async function readText(file) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()); // drops a byte order mark
  } catch {
    throw new Refusal(`The file ${file.name} is not UTF-8 text: save it as "CSV UTF-8".`);
  }
}

/** Records of fields (RFC 4180), separated by whichever of comma, semicolon and tab the first line has most of. */
export function parse(content, name) {
  const firstLine = content.slice(0, content.search(/[\r\n]|$/));
  const [separator] = [",", ";", "\t"].sort((a, b) => firstLine.split(b).length - firstLine.split(a).length);
  const special = new RegExp(`["\r\n${separator}]`, "g");
  const records = [];
  let record = [];
  let field = "";
  let at = 0;
  const endField = () => {
    record.push(field);
    field = "";
  };
  const endRecord = () => {
    endField();
    if (record.length > 1 || record[0]) records.push(record); // a blank line is no record
    record = [];
  };
  const readQuoted = () => {
    for (;;) {
      const end = content.indexOf('"', at);
      if (end < 0)
        throw new Refusal(`The file ${name} has a quote that is never closed, in or after row ${records.length}.`);
      field += content.slice(at, end);
      at = end + 1;
      if (content[at] !== '"') return;
      field += content[at++];
    }
  };
  while (at < content.length) {
    special.lastIndex = at;
    const next = special.exec(content)?.index ?? content.length;
    field += content.slice(at, next);
    at = next + 1;
    if (content[next] === '"' && field) field += '"';
    else if (content[next] === '"') readQuoted();
    else if (content[next] === separator) endField();
    else if (next < content.length) {
      if (content[next] === "\r" && content[at] === "\n") at++;
      endRecord();
    }
  }
  endRecord();
  return records;
}

/** One line of CSV. A cell that a spreadsheet would run as a formula gets an apostrophe before it (OWASP). */
export function line(values) {
  const cells = values.map((value) => {
    const formula = /^[=+\-@\t\r\n＝＋－＠]/.test(value) && !/^[+-]?\d+(\.\d+)?$/.test(value);
    const cell = formula ? `'${value}` : String(value);
    return /[",;\t\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  });
  return `${cells.join(",")}\r\n`;
}
