/* report_style.h: the page's style sheet in pieces, ended by NULL; no piece holds markup characters. */
#ifndef REPORT_STYLE_H
#define REPORT_STYLE_H

extern const char *const report_style[];

#endif
