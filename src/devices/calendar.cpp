#include "devices/calendar.h"

namespace dejavm::devices {
namespace {

constexpr int64_t kDay = 86400;
constexpr int64_t kDaysIn400Years = 146097;

constexpr int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Years are counted from 1 March, so that the leap day is the last day of a year.
constexpr int64_t days_before_year(int64_t year) {
  return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400);
}
constexpr int64_t days_before_month(int64_t month_from_march) { return (month_from_march * 153 + 2) / 5; }
constexpr int64_t kEpoch = days_before_year(1969) + days_before_month(10);  // 1 January 1970

}  // namespace

CalendarTime to_calendar(int64_t unix_s) {
  int64_t day = floor_div(unix_s, kDay);
  auto second = static_cast<unsigned>(unix_s - day * kDay);
  int64_t days = day + kEpoch;
  int64_t year = floor_div(days * 400, kDaysIn400Years) + 1;
  while (days_before_year(year) > days) --year;
  int64_t rest = days - days_before_year(year);
  int64_t month = (rest * 5 + 2) / 153;
  CalendarTime time;
  time.day = static_cast<unsigned>(rest - days_before_month(month) + 1);
  time.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  time.year = static_cast<unsigned>(year + (month < 10 ? 0 : 1));
  time.hour = second / 3600;
  time.minute = second / 60 % 60;
  time.second = second % 60;
  time.weekday = static_cast<unsigned>((day % 7 + 11) % 7 + 1);  // day 0 was a Thursday
  return time;
}

int64_t to_unix(const CalendarTime& time) {
  int64_t months = int64_t{time.year} * 12 + time.month - 3;
  int64_t year = floor_div(months, 12);
  int64_t days = days_before_year(year) + days_before_month(months - year * 12) + time.day - 1 - kEpoch;
  return days * kDay + int64_t{time.hour} * 3600 + int64_t{time.minute} * 60 + time.second;
}

}  // namespace dejavm::devices
