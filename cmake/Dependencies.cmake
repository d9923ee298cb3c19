# Everything comes from Debian packages (./dev setup); nothing is downloaded while configuring.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(Protobuf REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(libbpf REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(libmicrohttpd REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(gnutls REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(libisal REQUIRED IMPORTED_TARGET libisal)
find_path(LIBVIRT_INCLUDE_DIR libvirt/libvirt.h REQUIRED)
find_path(SYSTEMD_INCLUDE_DIR systemd/sd-bus.h REQUIRED)  # its library is opened at run time
find_path(SENSORS_INCLUDE_DIR sensors/sensors.h REQUIRED)
find_library(SENSORS_LIBRARY sensors REQUIRED)
add_library(libsensors UNKNOWN IMPORTED)
set_target_properties(libsensors PROPERTIES IMPORTED_LOCATION ${SENSORS_LIBRARY}
  INTERFACE_INCLUDE_DIRECTORIES ${SENSORS_INCLUDE_DIR})
