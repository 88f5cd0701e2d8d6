/* report_style.h: the page's style sheet, without markup characters. */
#ifndef REPORT_STYLE_H
#define REPORT_STYLE_H

extern const char report_style[];

#endif
