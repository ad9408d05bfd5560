# SPDX-License-Identifier: MIT
# QEMU 7.2 refuses vhost-user devices without KVM, though they work under TCG (later versions dropped the check). Where
# there is no KVM, guest/vm.py runs it under gdb: the check is told that KVM is there, nothing else ever sees it.
set pagination off
set confirm off
set print thread-events off
set breakpoint pending on
handle SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGIO SIGTERM nostop noprint pass
tbreak vhost_user_backend_dev_init
run
set *(char *) &kvm_allowed = 1
set *(char *) &kvm_eventfds_allowed = 1
finish
set *(char *) &kvm_allowed = 0
set *(char *) &kvm_eventfds_allowed = 0
continue
quit $_exitcode
