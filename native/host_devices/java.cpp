/* The native methods of org.peft4j.HostDevices, a class of Java's tests. */
#include <jni.h>

#include <stdexcept>

#include "host_devices.h"

namespace peft4j::host_devices {
namespace {

jstring text(JNIEnv* env, const std::string& ascii) {
  return env->NewStringUTF(ascii.c_str());
}

// A card that does not exist is the test's mistake.
template <class Call>
void checked(JNIEnv* env, const Call& call) {
  try {
    call();
  } catch (const std::exception& e) {
    env->ThrowNew(env->FindClass("java/lang/IllegalArgumentException"), e.what());
  }
}

}  // namespace

extern "C" {

JNIEXPORT void JNICALL Java_org_peft4j_HostDevices_recordCallsFor(JNIEnv*, jclass, jint card) {
  record_calls_for(static_cast<at::DeviceIndex>(card));
}

JNIEXPORT jstring JNICALL Java_org_peft4j_HostDevices_launchedLines(JNIEnv* env, jclass) {
  return text(env, launches());
}

JNIEXPORT jstring JNICALL Java_org_peft4j_HostDevices_wrong(JNIEnv* env, jclass) {
  return text(env, wrong());
}

JNIEXPORT jstring JNICALL Java_org_peft4j_HostDevices_waitedLines(JNIEnv* env, jclass) {
  return text(env, waits());
}

JNIEXPORT jboolean JNICALL Java_org_peft4j_HostDevices_hasContext(JNIEnv* env, jclass, jint card) {
  jboolean has = JNI_FALSE;
  checked(env, [&] { has = has_context(static_cast<at::DeviceIndex>(card)) ? JNI_TRUE : JNI_FALSE; });
  return has;
}

JNIEXPORT void JNICALL Java_org_peft4j_HostDevices_setMemory(JNIEnv* env, jclass, jint card, jlong bytes) {
  checked(env, [&] { set_memory(static_cast<at::DeviceIndex>(card), bytes); });
}

JNIEXPORT void JNICALL Java_org_peft4j_HostDevices_setCapability(JNIEnv* env, jclass, jint card, jint capability) {
  checked(env, [&] { set_capability(static_cast<at::DeviceIndex>(card), capability); });
}

JNIEXPORT void JNICALL Java_org_peft4j_HostDevices_setDriver(JNIEnv*, jclass, jint version) {
  set_driver(version);
}

}  // extern "C"

}  // namespace peft4j::host_devices
