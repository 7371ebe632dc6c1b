package resources

import (
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// windowsJob is a job object: all that the program starts is in it, and it is ended as a
// whole, by us or, when its last handle is closed because this process has died, by the
// system. See "Job Objects" in Microsoft's documentation of processes and threads.
type windowsJob struct{ handle windows.Handle }

// newJob makes a job object, nil where that is not possible.
func newJob() job {
	handle, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil
	}
	var limit windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limit.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(handle, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limit)), uint32(unsafe.Sizeof(limit)))
	if err != nil {
		_ = windows.CloseHandle(handle)
		return nil
	}
	return &windowsJob{handle}
}

// prepare has the process wait before its first instruction, so that it cannot start another
// one before it is in the job.
func (j *windowsJob) prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_SUSPENDED}
}

// begin puts the process into the job and lets it go on.
func (j *windowsJob) begin(pid int) error {
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer windows.CloseHandle(process)
	if err := windows.AssignProcessToJobObject(j.handle, process); err != nil {
		return err
	}
	return resume(uint32(pid))
}

// resume lets the threads of a process go on. Package syscall closes the handle of the first
// one, so that is looked for.
func resume(pid uint32) error {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(snapshot)
	entry := windows.ThreadEntry32{}
	entry.Size = uint32(unsafe.Sizeof(entry))
	resumed := error(windows.ERROR_NOT_FOUND)
	for err = windows.Thread32First(snapshot, &entry); err == nil; err = windows.Thread32Next(snapshot, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		_, resumed = windows.ResumeThread(thread)
		_ = windows.CloseHandle(thread)
	}
	return resumed
}

func (j *windowsJob) kill() { _ = windows.TerminateJobObject(j.handle, 1) }

// jobAccounting is JOBOBJECT_BASIC_ACCOUNTING_INFORMATION.
type jobAccounting struct {
	totalUserTime, totalKernelTime           int64
	thisPeriodUserTime, thisPeriodKernelTime int64
	totalPageFaultCount                      uint32
	totalProcesses                           uint32
	activeProcesses                          uint32
	totalTerminatedProcesses                 uint32
}

func (j *windowsJob) count() (total, active int) {
	var a jobAccounting
	err := windows.QueryInformationJobObject(j.handle, windows.JobObjectBasicAccountingInformation,
		uintptr(unsafe.Pointer(&a)), uint32(unsafe.Sizeof(a)), nil)
	if err != nil {
		return 0, 0
	}
	return int(a.totalProcesses), int(a.activeProcesses)
}

func (j *windowsJob) close() { _ = windows.CloseHandle(j.handle) }
