#include "answers.h"

#include <xxhash.h>

#include <bit>
#include <cstring>
#include <type_traits>

namespace dejavm::differential {
namespace {

static_assert(std::is_trivially_copyable_v<vm::CpuState> && sizeof(vm::CpuState) % 8 == 0);
constexpr uint64_t kMagic = 0x31'77'73'6e'61'6d'76'6a;
constexpr uint64_t kMany = 1 << 16;  // of anything in a record: beyond all that a run changes

using StateImage = std::array<uint64_t, sizeof(vm::CpuState) / 8>;

StateImage image_of(const vm::CpuState& state) { return std::bit_cast<StateImage>(state); }

}  // namespace

uint64_t fingerprint(const TestCase& test) {
  uint64_t hash = vm::hash(test.state);
  for (const Patch& patch : test.patches)
    hash = XXH3_64bits_withSeed(patch.bytes.data(), patch.bytes.size(), hash ^ patch.gpa);
  return hash;
}

Result<Answer> ask_kvm(Guests& guests, const TestCase& test) {
  for (const Patch& patch : test.patches) guests.write_kvm(patch.gpa, patch.bytes);
  Answer answer{
      .mode = guests.image().mode, .number = test.number, .fingerprint = fingerprint(test), .outcome = {}, .words = {}};
  TRY_ASSIGN(answer.outcome, guests.run_kvm(test.state));
  std::vector<uint32_t> pages = guests.changed_pages();
  for (uint32_t page : pages) {
    for (uint32_t at = page; at < page + vm::kPageSize; at += 8) {
      ChangedWord word{at, 0};
      std::memcpy(&word.value, guests.ram(Engine::kvm) + at, sizeof word.value);
      if (std::memcmp(guests.image().ram.data() + at, &word.value, sizeof word.value) != 0) answer.words.push_back(word);
    }
  }
  guests.restore_kvm(pages);
  return answer;
}

template <typename T>
void AnswerFile::put(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::fwrite(&value, sizeof value, 1, file_.get());
}
template <typename T>
void AnswerFile::put_all(const std::vector<T>& values) {
  put(uint64_t{values.size()});
  for (const T& value : values) put(value);
}
template <typename T>
bool AnswerFile::take(T& value) {
  return std::fread(&value, sizeof value, 1, file_.get()) == 1;
}
template <typename T>
bool AnswerFile::take_all(std::vector<T>& values) {
  uint64_t count = 0;
  if (!take(count) || count > kMany) return false;
  values.assign(count, T{});
  return count == 0 || std::fread(values.data(), sizeof(T), count, file_.get()) == count;
}

Result<AnswerFile> AnswerFile::create(const std::string& path, const vm::CpuModel& model) {
  AnswerFile made(File(std::fopen(path.c_str(), "wb"), std::fclose), path);
  if (made.file_ == nullptr) return fail_errno("cannot create " + path);
  made.put(kMagic);
  made.put(model.kind);
  made.put(model.counts_zeros);
  made.put_all(model.cpuid);
  return made;
}

Result<AnswerFile> AnswerFile::open(const std::string& path, vm::CpuModel& model) {
  AnswerFile opened(File(std::fopen(path.c_str(), "rb"), std::fclose), path);
  if (opened.file_ == nullptr) return fail_errno("cannot open " + path);
  uint64_t magic = 0;
  if (!opened.take(magic) || magic != kMagic || !opened.take(model.kind) || !opened.take(model.counts_zeros) ||
      !opened.take_all(model.cpuid)) {
    return fail_damaged(path + " holds no answers of a KVM", "make it with --save");
  }
  return opened;
}

Status AnswerFile::append(const Answer& answer, const TestCase& test) {
  put(answer.mode);
  put(answer.seed);
  put(answer.number);
  put(answer.fingerprint);
  put(answer.outcome.kind);
  put(answer.outcome.fault.value_or(Fault{}));
  put(answer.outcome.fault.has_value());
  put_all(answer.outcome.accesses);
  put_all(answer.words);
  StateImage before = image_of(test.state), after = image_of(answer.outcome.state);
  std::vector<StateWord> changed;
  for (uint32_t i = 0; i < before.size(); ++i) {
    if (before[i] != after[i]) changed.push_back({i, after[i]});
  }
  put_all(changed);
  if (std::ferror(file_.get()) != 0) return fail_errno("cannot write " + path_);
  return {};
}

Result<bool> AnswerFile::next(Answer& answer) {
  if (!take(answer.mode)) return false;
  Fault fault;
  bool faulted = false;
  bool whole = take(answer.seed) && take(answer.number) && take(answer.fingerprint) && take(answer.outcome.kind) &&
               take(fault) && take(faulted) && take_all(answer.outcome.accesses) && take_all(answer.words) &&
               take_all(state_words_);
  bool sound = whole && answer.mode <= Mode::user64 && answer.outcome.kind <= Outcome::Kind::failed;
  for (const ChangedWord& word : answer.words) sound = sound && word.address % 8 == 0 && word.address < kRamSize;
  for (const StateWord& word : state_words_) sound = sound && word.index < std::tuple_size_v<StateImage>;
  if (!sound) return fail_damaged(path_ + " ends in the middle of an answer, or is damaged", "make it again with --save");
  answer.outcome.fault = faulted ? std::optional(fault) : std::nullopt;
  return true;
}

void AnswerFile::complete(Answer& answer, const TestCase& test) const {
  StateImage image = image_of(test.state);
  for (const StateWord& word : state_words_) image[word.index] = word.value;
  answer.outcome.state = std::bit_cast<vm::CpuState>(image);
}

Status AnswerFile::close() {
  std::FILE* file = file_.release();
  if (std::fclose(file) != 0) return fail_errno("cannot write " + path_);
  return {};
}

}  // namespace dejavm::differential
