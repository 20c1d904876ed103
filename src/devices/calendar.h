// The proleptic Gregorian calendar of a clock chip: seconds since 1970 and broken-down fields.
#pragma once

#include <cstdint>

namespace dejavm::devices {

/// Universal time. `weekday` counts from 1 = Sunday, as the MC146818 does.
struct CalendarTime {
  unsigned year = 1970;  ///< with century
  unsigned month = 1;    ///< 1 to 12
  unsigned day = 1;      ///< 1 to 31
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned second = 0;
  unsigned weekday = 1;
  bool operator==(const CalendarTime&) const = default;
};

/// Defined for seconds below 2^40.
CalendarTime to_calendar(int64_t unix_s);
/// Any field values are taken: a month of 0 or 99 and a day of 31 February carry into the neighbouring fields. The weekday
/// is not looked at.
int64_t to_unix(const CalendarTime& time);

}  // namespace dejavm::devices
