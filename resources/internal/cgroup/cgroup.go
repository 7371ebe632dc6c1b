// Package cgroup makes a control group of version 2 for each command, which can be killed
// as a whole whatever its processes do (cgroup.kill, Linux 5.14). See cgroups(7) and the
// kernel's Documentation/admin-guide/cgroup-v2.rst.
//
// To kill and to limit are different abilities: on hosts where both versions are mounted
// the second has no controllers, and still kills. Only that is asked of it here.
package cgroup
